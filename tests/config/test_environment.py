"""Keys that the environment sets win over the file; slips are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stream.config import Config, ConfigError, load
from stream.config.errors import shown

FILE = """\
dimensions = ["plan"]
dedupe = "1m"
[kafka]
bootstrap = "file:1"
group = "from-file"
partitions = 3
[health.weights]
"Ticket Age" = 3
Usage = 4
[[sink]]
type = "webhook"
url_env = "CXKPI_HOOK__URL"
secret_env = "CXKPI_HOOK__KEY"
"""

SET: list[tuple[str, str, Callable[[Config], object], object]] = [
    ("CXKPI_KAFKA__BOOTSTRAP", "a:1,b:2", lambda c: c.kafka.bootstrap, "a:1,b:2"),
    ("CXKPI_KAFKA__PARTITIONS", " 12 ", lambda c: c.kafka.partitions, 12),
    ("CXKPI_KAFKA__TOPIC_PREFIX", "", lambda c: c.kafka.topic_prefix, ""),
    ("CXKPI_KAFKA__FLUSH", "100ms", lambda c: c.kafka.flush_ms, 100),
    ("CXKPI_KAFKA__SSL_CHECK_HOSTNAME", "False", lambda c: c.kafka.ssl_check_hostname, False),
    ("CXKPI_KAFKA__SASL_MECHANISM", "PLAIN", lambda c: c.kafka.sasl_mechanism, "PLAIN"),
    ("CXKPI_HTTP__PORT", "0", lambda c: c.http.port, 0),
    ("CXKPI_HTTP__HOST", "::", lambda c: c.http.host, "::"),
    ("CXKPI_DEDUPE", "2m", lambda c: c.dedupe_ms, 120_000),
    ("CXKPI_MAX_SEGMENTS", "5", lambda c: c.max_segments, 5),
    ("CXKPI_DIMENSIONS", "plan, team", lambda c: c.dimensions, ("plan", "team")),
    ("CXKPI_DIMENSIONS", '["plan", "team"]', lambda c: c.dimensions, ("plan", "team")),
    ("CXKPI_DIMENSIONS", "", lambda c: c.rollups, ((),)),
    ("CXKPI_DIMENSIONS", "a,b", lambda c: c.rollups, ((), ("a",), ("b",), ("a", "b"))),
    ("CXKPI_ROLLUPS", '[["plan"]]', lambda c: c.rollups, (("plan",),)),
    ("CXKPI_EMOTION__POSITIVE", "glad,Calm", lambda c: c.emotion.positive, ("glad", "Calm")),
    ("CXKPI_HEALTH__WEIGHTS", '{"a": 1.5}', lambda c: c.health.weights, {"a": 1.5}),
    (
        "CXKPI_HEALTH__WEIGHTS__USAGE",
        "0.5",
        lambda c: c.health.weights,
        {"Ticket Age": 3.0, "Usage": 0.5},
    ),
    ("CXKPI_HEALTH__WEIGHTS__NEW", "2", lambda c: c.health.weights.get("new"), 2.0),
    ("CXKPI_TICKET__RAPID_RESPONSE", "0", lambda c: c.ticket.rapid_response_ms, 0),
]

ROLLUPS = 'must be a list of lists in JSON, such as [[], ["channel"]]'
DEEP = shown("[" * 100_000)

REFUSED: list[tuple[str, str, str]] = [
    (
        "CXKPI_HTTP__PROT",
        "1",
        (
            'CXKPI_HTTP__PROT: unknown variable; did you mean "CXKPI_HTTP__PORT"? '
            "allowed: CXKPI_HTTP__HOST, CXKPI_HTTP__PORT"
        ),
    ),
    ("CXKPI_DEDUP", "1m", 'CXKPI_DEDUP: unknown variable; did you mean "CXKPI_DEDUPE"?'),
    (
        "CXKPI_KAFAK__GROUP",
        "x",
        'CXKPI_KAFAK__GROUP: unknown variable; did you mean "CXKPI_KAFKA__GROUP"?',
    ),
    (
        "CXKPI_HTTP__SERVICE_HOST",
        "10.0.0.1",
        (
            'CXKPI_HTTP__SERVICE_HOST: unknown variable; did you mean "CXKPI_HTTP__HOST"? '
            "allowed: CXKPI_HTTP__HOST, CXKPI_HTTP__PORT"
        ),
    ),
    ("CXKPI_WINDOW", "[]", "CXKPI_WINDOW: arrays of tables can only be set in the file"),
    (
        "CXKPI_ALERT__0__KPI",
        "x",
        "CXKPI_ALERT__0__KPI: arrays of tables can only be set in the file",
    ),
    ("CXKPI_HTTP__PORT", "http", 'CXKPI_HTTP__PORT: http.port: must be a whole number, not "http"'),
    ("CXKPI_HTTP__PORT", "1.0", "CXKPI_HTTP__PORT: http.port: must be a whole number, not 1.0"),
    ("CXKPI_HTTP__PORT", "70000", "CXKPI_HTTP__PORT: http.port: must be 0 to 65535, not 70000"),
    (
        "CXKPI_KAFKA__SSL_CHECK_HOSTNAME",
        "yes",
        (
            "CXKPI_KAFKA__SSL_CHECK_HOSTNAME: kafka.ssl_check_hostname: must be true or false, "
            'not "yes"'
        ),
    ),
    ("CXKPI_EVALUATE", "5h", 'CXKPI_EVALUATE: evaluate: must be 100ms to 1h, not "5h"'),
    ("CXKPI_ROLLUPS", "[[", f'CXKPI_ROLLUPS: rollups: {ROLLUPS}, not "[["'),
    ("CXKPI_ROLLUPS", "channel", f'CXKPI_ROLLUPS: rollups: {ROLLUPS}, not "channel"'),
    ("CXKPI_ROLLUPS", "5", f'CXKPI_ROLLUPS: rollups: {ROLLUPS}, not "5"'),
    ("CXKPI_ROLLUPS", "[" * 100_000, f"CXKPI_ROLLUPS: rollups: {ROLLUPS}, not {DEEP}"),
    (
        "CXKPI_HEALTH__WEIGHTS",
        "usage",
        (
            "CXKPI_HEALTH__WEIGHTS: health.weights: must be a table in JSON, such as"
            ' {"usage": 2}, not "usage"'
        ),
    ),
    *(
        (
            "CXKPI_DIMENSIONS",
            text,
            (
                f"CXKPI_DIMENSIONS: dimensions[{place}]: must be snake_case, such as"
                ' "plan" or "sales_area", not ""'
            ),
        )
        for text, place in (("a,,b", 1), ("a,", 1), (",a", 0))
    ),
    (
        "CXKPI_DIMENSIONS",
        "plan,severity",
        (
            'CXKPI_DIMENSIONS: dimensions[1]: "severity" is reserved; reserved are: currency, kpi, '
            "le, quantile, rule, severity, window"
        ),
    ),
    (
        "CXKPI_HEALTH__WEIGHTS__USAGE",
        "much",
        'CXKPI_HEALTH__WEIGHTS__USAGE: health.weights.Usage: must be a number, not "much"',
    ),
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cxkpi.toml").write_text(FILE)


@pytest.mark.parametrize(("name", "text", "get", "value"), SET)
def test_a_variable_wins_over_the_file(
    name: str, text: str, get: Callable[[Config], object], value: object
) -> None:
    before = get(load(None, {}, needs=()))
    config = load(None, {name: text}, needs=())
    assert get(config) == value
    assert before != value or text in ("", "PLAIN")
    assert config.kafka.group == "from-file"


@pytest.mark.parametrize(("name", "text", "line"), REFUSED)
def test_a_slip_in_a_variable_is_told_by_its_name(name: str, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, {name: text}, needs=())
    assert str(refused.value) == line


@pytest.mark.parametrize(
    "name",
    [
        *("CXKPI_PORT", "CXKPI_SERVICE_HOST", "CXKPI_PORT_9464_TCP_ADDR", "CXKPI_HTTP_PORT"),
        *("CXKPI_SERVICE_PORT_HTTP", "CXKPI_WORKER_PORT_9464_TCP", "CXKPI_HOOK__URL", "HOME"),
        "CXKPI_HOOK__KEY",
    ],
)
def test_variables_of_others_are_left_alone(name: str) -> None:
    config = load(None, {name: "tcp://10.0.0.1:9464"}, needs=())
    assert config == load(None, {}, needs=())
    assert config.strangers == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CXKPI_BOOTSTRAP", "CXKPI_KAFKA__BOOTSTRAP"),
        ("CXKPI_BOOTSTRAPS", "CXKPI_KAFKA__BOOTSTRAP"),
        ("CXKPI_PORT", "CXKPI_HTTP__PORT"),
        ("CXKPI_TIMEOUT", "CXKPI_CART__TIMEOUT"),
        ("CXKPI_SASL_PASSWORD", "CXKPI_KAFKA__SASL_PASSWORD"),
        ("CXKPI_BROKER__BOOTSTRAP", "CXKPI_KAFKA__BOOTSTRAP"),
        ("CXKPI_X", None),
    ],
)
def test_a_variable_that_sets_nothing_is_warned_of(name: str, meant: str | None) -> None:
    more = f'; did you mean "{meant}"?' if meant else ""
    said = f"{name}: unknown variable, it sets nothing{more}"
    assert load(None, {name: "secret:9092"}, needs=()).strangers == (said,)


@pytest.mark.parametrize("name", ["CXKPI_KAFKA__SASL_PASSWRD", "CXKPI_KAFKA_SASL_PASSWORD"])
def test_a_slip_in_the_password_s_variable_is_told_by_that_variable(name: str) -> None:
    with pytest.raises(ConfigError, match='did you mean "CXKPI_KAFKA__SASL_PASSWORD"') as refused:
        load(None, {name: "secret"}, needs=())
    assert "secret" not in str(refused.value)


def test_a_sink_s_variable_that_is_no_text_is_a_slip_whatever_variables_there_are() -> None:
    Path("cxkpi.toml").write_text('[[sink]]\ntype = "webhook"\nurl_env = ["HOOK"]\n')
    with pytest.raises(ConfigError, match=r"sink\[0\]\.url_env: must be text in quotes"):
        load(None, {"CXKPI_X": ""}, needs=())


def test_variables_work_without_a_file() -> None:
    Path("cxkpi.toml").unlink()
    assert load(None, {"CXKPI_KAFKA__GROUP": "g"}).kafka.group == "g"
