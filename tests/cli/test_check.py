"""``cxkpi check``: exit codes and output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from stream.cli import cli
from stream.cli.check import check
from stream.config import KafkaConfig
from stream.core.inspection import inspect
from stream.core.settings import Settings
from stream.core.shape import Shape
from stream.core.state import Header
from stream.kafka.group_state import GroupState

GOOD = """\
[kafka]
topic_prefix = "eu."
[http]
host = "::1"
[[window]]
size = "60m"
pane = "1m"
[[window]]
size = "7d"
pane = "1h"
[[alert]]
name = "Low"
kpi = "csat"
window = "1h"
by = ["region"]
below = 0.7
significant = true
for = "2m"
severity = "critical"
[[alert]]
name = "Spike"
kpi = "churn"
window = "1h"
baseline = "7d"
factor = 2
min_covered = 0.9
[[alert]]
name = "Silence"
topic = "cx.survey"
absent_for = "10m"
for = "1m"
[[sink]]
type = "log"
[[sink]]
type = "webhook"
url = "http://127.0.0.1:8080/hook"
[[sink]]
type = "slack"
name = "on-call"
url_env = "SLACK_URL"
"""


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _check(content: str | None, *arguments: str, slack: str | None = "https://h/x") -> Result:
    if content is not None:
        Path("cxkpi.toml").write_text(content)
    return CliRunner().invoke(check, list(arguments), env={"SLACK_URL": slack})


def test_a_good_configuration_is_printed_in_short() -> None:
    result = _check(GOOD)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        result.stdout
        == """\
file        cxkpi.toml
dimensions  channel, region
rollups     [] [channel] [region] [channel, region]
windows     1h/1m, 7d/1h
kafka       127.0.0.1:9092 PLAINTEXT, group cxkpi, topics "eu.…"
http        [::1]:9464
alert       Low: csat 1h by region below 0.7 significantly for 2m, critical
alert       Spike: churn 1h above 2 × that of 7d once 90% is covered, warning
alert       Silence: no event of cx.survey for 10m for 1m, warning
sink        log: standard error
sink        webhook: http://127.0.0.1:8080/…
sink        on-call: $SLACK_URL
ok
"""
    )


HELD = """
[[alert]]
name = "Held"
kpi = "csat"
window = "1h"
below = 0.7
clear = 0.75
keep_firing_for = "10m"
min_samples = 100
"""


def test_a_rule_is_told_with_what_it_asks_for_and_what_ends_it() -> None:
    result = _check(HELD)
    told = (
        "Held: csat 1h below 0.7 cleared at 0.75 from a denominator of 100 on kept for 10m, warning"
    )
    assert f"alert       {told}\n" in result.stdout


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("", []),
        (HELD, ["sink        none; changes of alerts go to the topic cx.alert only"]),
        (
            '[kafka]\ntopic_prefix = "eu."\n' + HELD,
            ["sink        none; changes of alerts go to the topic eu.cx.alert only"],
        ),
        (HELD + '[[sink]]\ntype = "log"\n', ["sink        log: standard error"]),
    ],
)
def test_that_nobody_is_told_of_alerts_is_said(content: str, lines: list[str]) -> None:
    result = _check(content)
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("sink")] == lines
    assert result.stdout.endswith("\nok\n")


def test_json_says_the_same() -> None:
    result = _check(GOOD, "--json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["ok"]) == (0, True)
    assert said["file"] == "cxkpi.toml"
    assert said["windows"] == [{"size": "1h", "pane": "1m"}, {"size": "7d", "pane": "1h"}]
    assert [s["to"] for s in said["sinks"]] == [
        "standard error",
        "http://127.0.0.1:8080/…",
        "$SLACK_URL",
    ]


SHARE = "(a share, not a percentage)"


@pytest.mark.parametrize(
    ("kpi", "keys", "words"),
    [
        ("csat", "below = 70", "below: 70 is above all values, so the alert is always on"),
        ("csat", "above = 75", f"above: csat is 0 to 1 {SHARE}, so it is never above 75"),
        ("nps", "above = 100", "above: nps is -100 to 100, so it is never above 100"),
        ("churn", "below = 0", f"below: churn is at least 0 {SHARE}, so it is never below 0"),
        (
            "retention",
            "above = 1",
            f"above: retention is at most 1 {SHARE}, so it is never above 1",
        ),
        (
            "churn",
            'baseline = "7d"\nfactor = 2',
            (
                "min_covered: is missing; until data covers 7d, the usual value is too low and this"
                " rule fires falsely: set 0.9, say"
            ),
        ),
        (
            "cart_recovered",
            'baseline = "24h"\nfactor = 0.5\nmin_covered = 0',
            (
                "min_covered: is missing; until data covers 24h, the usual value is too low and"
                " this rule misses falls: set 0.9, say"
            ),
        ),
        (
            "csat",
            "above = 0.5\nclear = -0.1",
            f"clear: csat is 0 to 1 {SHARE}, so an alert would never be resolved at -0.1",
        ),
        (
            "csat",
            "below = 0.5\nclear = 60",
            f"clear: csat is 0 to 1 {SHARE}, so an alert would never be resolved at 60",
        ),
    ],
)
def test_what_can_hardly_be_meant_is_warned_of(kpi: str, keys: str, words: str) -> None:
    content = f'[[alert]]\nname = "A"\nkpi = "{kpi}"\nwindow = "1h"\n{keys}\n'
    key, _, rest = words.partition(":")
    words = f"alert[0].{key} (A):{rest}"
    result = _check(content)
    assert result.exit_code == 0
    assert f"warning     {words}" in result.stdout.splitlines()
    assert json.loads(_check(content, "--json").stdout)["warnings"] == [words]


@pytest.mark.parametrize(
    ("kpi", "keys"),
    [
        ("churn", 'baseline = "7d"\nfactor = 2\nmin_covered = 0.5'),
        ("csat", 'baseline = "7d"\nfactor = 0.5'),
        ("churn", "above = 0.1"),
        ("churn", "above = 0"),
        ("csat", "below = 1"),
        ("csat", "above = 0.5\nclear = 0"),
        ("csat", "below = 0.5\nclear = 1"),
    ],
)
def test_what_is_meant_is_not_warned_of(kpi: str, keys: str) -> None:
    content = f'[[alert]]\nname = "A"\nkpi = "{kpi}"\nwindow = "1h"\n{keys}\n'
    assert json.loads(_check(content, "--json").stdout)["warnings"] == []


@pytest.mark.parametrize(
    ("names", "warned"),
    [
        (["", ""], ["log-2"]),
        (["", "", ""], ["log-2", "log-3"]),
        (["", "second"], []),
        (["first", ""], []),
        (["", "log-2"], []),
        ([""], []),
    ],
)
def test_a_sink_whose_name_depends_on_its_place_is_warned_of(
    names: list[str], warned: list[str]
) -> None:
    tables = ('[[sink]]\ntype = "log"\n' + (f'name = "{name}"\n' if name else "") for name in names)
    told = json.loads(_check("".join(tables), "--json").stdout)["warnings"]
    assert [words.split(" by its place")[0] for words in told] == [
        f"sink[{number}].name: is missing; it is {name}" for number, name in enumerate(warned, 1)
    ]


def test_a_variable_that_sets_nothing_is_told_by_check_and_every_other_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXKPI_BOOTSTRAP", "kafka:9092")
    words = (
        'CXKPI_BOOTSTRAP: unknown variable, it sets nothing; did you mean "CXKPI_KAFKA__BOOTSTRAP"?'
    )
    result = _check(GOOD, "--no-secrets")
    assert result.exit_code == 0
    assert f"warning     {words}" in result.stdout.splitlines()
    assert json.loads(_check(GOOD, "--no-secrets", "--json").stdout)["warnings"] == [words]
    exported = CliRunner().invoke(cli, ["rules", "export"])
    assert exported.exit_code == 0
    assert exported.stderr.splitlines()[0] == f"warning: {words}"


@pytest.mark.parametrize(
    ("protocol", "mechanism", "warned"),
    [
        ("SASL_PLAINTEXT", "PLAIN", True),
        ("SASL_PLAINTEXT", "SCRAM-SHA-256", False),
        ("SASL_SSL", "PLAIN", False),
        ("PLAINTEXT", "PLAIN", False),
    ],
)
def test_a_login_in_the_clear_is_warned_of(protocol: str, mechanism: str, warned: bool) -> None:
    login = 'sasl_username = "me"\n' if protocol.startswith("SASL") else ""
    kafka = f'security_protocol = "{protocol}"\nsasl_mechanism = "{mechanism}"\n{login}'
    result = _check(f"[kafka]\n{kafka}", "--json", "--no-secrets")
    assert result.exit_code == 0
    warning = (
        "kafka.security_protocol: SASL_PLAINTEXT with sasl_mechanism PLAIN sends user name and"
        " password in the clear"
    )
    assert json.loads(result.stdout)["warnings"] == [warning] * warned


@pytest.mark.parametrize(
    ("protocol", "checks", "warned"),
    [("SSL", "false", True), ("SASL_SSL", "false", True), ("SSL", "true", False)],
)
def test_brokers_whose_name_is_not_checked_are_warned_of(
    protocol: str, checks: str, warned: bool
) -> None:
    login = 'sasl_username = "me"\n' if protocol.startswith("SASL") else ""
    kafka = f'security_protocol = "{protocol}"\nssl_check_hostname = {checks}\n{login}'
    result = _check(f"[kafka]\n{kafka}", "--json", "--no-secrets")
    found = json.loads(result.stdout)["warnings"]
    assert [said.partition(":")[0] for said in found] == ["kafka.ssl_check_hostname"] * warned


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("cxkpi.toml", "too many levels of symbolic links"),
        ("gone.toml", "no such file or directory"),
    ],
)
def test_a_file_that_leads_nowhere_is_no_missing_one(target: str, reason: str) -> None:
    Path("cxkpi.toml").symlink_to(target)
    result = _check(None)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"cxkpi.toml: {reason}\n"


def test_no_file_at_all_is_fine() -> None:
    result = _check(None)
    assert result.stdout.splitlines()[0] == "file        none; there is no cxkpi.toml here"
    assert result.stdout.endswith("\nok\n")
    assert json.loads(_check(None, "--json").stdout)["file"] is None


def test_problems_go_to_standard_error_and_the_exit_code_is_1() -> None:
    result = _check("[http]\nport = -1\nhots = 1\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "cxkpi.toml:2: http.port: must be 0 to 65535, not -1",
        'cxkpi.toml:3: http.hots: unknown key; did you mean "host"? allowed: host, port',
    ]


def test_problems_are_json_too() -> None:
    result = _check("[http]\nport = -1\n", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "problems": [
            {
                "where": "cxkpi.toml:2",
                "line": 2,
                "key": "http.port",
                "message": "must be 0 to 65535, not -1",
            }
        ],
    }


def test_a_problem_that_stands_in_no_file_has_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXKPI_HTTP__PORT", "-1")
    result = _check("", "--json")
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["where"], problem["line"]) == ("CXKPI_HTTP__PORT", None)


@pytest.mark.parametrize("arguments", [["--config", "none.toml"], ["--config", "."]])
def test_a_file_that_cannot_be_read_is_exit_code_2(arguments: list[str]) -> None:
    result = _check(None, *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_what_is_no_toml_is_exit_code_2() -> None:
    result = _check("[http\n")
    assert result.exit_code == 2
    assert result.stderr.startswith("cxkpi.toml:1: not TOML: ")


def test_secrets_can_be_left_out_of_the_check() -> None:
    assert _check(GOOD, slack=None).exit_code == 1
    assert _check(GOOD, "--no-secrets", slack=None).exit_code == 0


WINDOWS = """\
[[window]]
size = "1h"
pane = "1m"
[[window]]
size = "24h"
pane = "15m"
"""


@pytest.mark.parametrize(
    ("written", "refused", "becomes", "code"),
    [
        ({}, None, [], 0),
        ({"dedupe_ms": 60_000}, None, ["dedupe: kept"], 0),
        ({"windows": [("5m", 300_000, 60_000)]}, None, ["window 1h: starts empty"], 1),
        ({"dimensions": ("shop",)}, None, ["dimension channel: starts empty"], 1),
        ({"dimensions": ()}, None, ["dimension channel: starts empty"], 0),
        ({}, "topic cxkpi-state partition 1: the state is damaged", [], 1),
        ({"dedupe_ms": 60_000}, "the state is lost", [], 1),
    ],
)
def test_a_state_that_would_be_dropped_or_refused_is_something_wrong(
    written: dict[str, Any],
    refused: str | None,
    becomes: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def looked(_: KafkaConfig, settings: Settings) -> GroupState:
        header = Header("1.0.0", msgspec.structs.replace(Shape.of(settings), **written), 1, {})
        shards = [replace(inspect({}), header=header)]
        return GroupState("cxkpi-state", [], None, {}, shards, refused)

    monkeypatch.setattr("stream.kafka.group_state.look_at_group", looked)
    content = f'dimensions = ["channel"]\nrollups = [[]]\n{WINDOWS}'
    printed, text = (_check(content, "--state", *more) for more in (["--json"], []))
    assert (printed.exit_code, text.exit_code) == (code, code)
    said = json.loads(printed.stdout)
    state = said["state"]
    assert (said["ok"], state["ok"], state["refused"]) == (code == 0, code == 0, refused)
    facts = [f"{fact['what']}: {fact['becomes']}" for fact in state["facts"]]
    assert facts[: len(becomes)] == becomes
    assert any(fact.endswith(": dropped") for fact in facts) == (code == 1 and refused is None)
    lines = [line.split(";")[0] for line in text.stdout.splitlines()]
    told = [refused] if refused else ["written by version 1.0.0", *facts]
    if not refused and not facts:
        told.append("all of it is kept")
    assert [line[12:] for line in lines if line.startswith("state")] == told
    assert (lines[-1] == "ok") == (code == 0)


def test_a_broker_that_says_nothing_of_the_state_is_a_problem_in_json_too() -> None:
    content = '[kafka]\nbootstrap = "127.0.0.1:1"\n'
    printed, text = (_check(content, "--state", *more) for more in (["--json"], []))
    assert (printed.exit_code, text.exit_code, text.stdout) == (2, 2, "")
    assert printed.stderr == text.stderr
    (problem,) = json.loads(printed.stdout)["problems"]
    assert problem["where"] == "127.0.0.1:1"
    assert f"Error: {problem['message']}\n" == text.stderr
