"""Each mistake in the file is one line: file, line, key, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import ConfigError, load
from stream.core.errors import StopError
from tests.config.mistakes import DURATION, Case, check_said, problems

BROKERS = 'must be host:port, several comma-separated, such as "kafka-1:9092,kafka-2:9092"'
CASES: list[Case] = [
    # Unknown keys and wrong kinds of values
    (
        "an unknown key with a near one",
        '[http]\nhots = "::1"\n',
        ['2: http.hots: unknown key; did you mean "host"? allowed: host, port'],
    ),
    (
        "an unknown key with no near one",
        "[cart]\nzzz = 1\n",
        ["2: cart.zzz: unknown key; allowed: timeout"],
    ),
    (
        "a key of the top level behind a table",
        '[http]\nevaluate = "1s"\n',
        [
            (
                "2: http.evaluate: unknown key; evaluate stands before the first table; "
                "allowed: host, port"
            )
        ],
    ),
    (
        "a key of the top level behind an array of tables",
        '[[sink]]\ntype = "log"\n[[window]]\nsize = "1h"\npane = "1m"\ndimensions = ["plan"]\n',
        [
            (
                "6: window[0].dimensions: unknown key; dimensions stands before the first table; "
                "allowed: size, pane"
            )
        ],
    ),
    (
        "a key of another table",
        '[http]\nbootstrap = "kafka:9092"\n',
        ["2: http.bootstrap: unknown key; bootstrap belongs to [kafka]; allowed: host, port"],
    ),
    (
        "a key of several other tables",
        '[http]\nurl = "http://grafana"\n',
        ["2: http.url: unknown key; url belongs to [dashboard] or [[sink]]; allowed: host, port"],
    ),
    (
        "a key of a table before the first one",
        "port = 80\n",
        ["1: port: unknown key; port belongs to [http]; allowed: dimensions, "],
    ),
    (
        "a table within another",
        "[cart.http]\nport = 80\n",
        ["1: cart.http: unknown key; write [http]; allowed: timeout"],
    ),
    (
        "an unknown table",
        "[tickets]\nrapid_response = 1\n",
        [
            (
                '1: tickets: unknown key; did you mean "ticket"? allowed: dimensions, rollups, '
                "dedupe, evaluate, max_values_per_dimension, max_segments, max_remembered, "
                "benchmarks, kafka, http, cart, ticket, emotion, health, dashboard, window, alert, "
                "sink"
            )
        ],
    ),
    (
        "an unknown key that needs quotes",
        '[cart]\n"time out" = 1\n',
        ['2: cart."time out": unknown key; did you mean "timeout"? allowed: timeout'],
    ),
    (
        "text for a number",
        '[http]\nport = "80"\n',
        ['2: http.port: must be a whole number, not "80"'],
    ),
    (
        "true for a number",
        "[http]\nport = true\n",
        ["2: http.port: must be a whole number, not true"],
    ),
    (
        "a session time-out that Kafka refuses",
        '[kafka]\nsession_timeout = "5s"\n',
        ['2: kafka.session_timeout: must be 6s to 30s, not "5s"'],
    ),
    ("a fraction", "[http]\nport = 80.5\n", ["2: http.port: must be a whole number, not 80.5"]),
    (
        "a number off its range",
        "[http]\nport = 65536\n",
        ["2: http.port: must be 0 to 65535, not 65536"],
    ),
    ("a number for text", "[http]\nhost = 1\n", ["2: http.host: must be text in quotes, not 1"]),
    (
        "text of two lines",
        '[[sink]]\ntype = "log"\nname = "a\\nb"\n',
        [
            (
                "3: sink[0].name: must be 1 to 1000 printable characters on one line, no blank at "
                'either end; not "a\\nb"'
            )
        ],
    ),
    *(
        (
            f"{what} for a host",
            f'[http]\nhost = "{host}"\n',
            [f'2: http.host: must be a host name or an IP address, without a port, not "{host}"'],
        )
        for what, host in (
            ("an address", "http://127.0.0.1"),
            ("a host with its port", "127.0.0.1:9464"),
            ("an address of IPv6 with a gap too many", "1::2::3"),
            ("an address of IPv6 with a part too many", "1:2:3:4:5:6:7:8:9"),
            ("an address of IPv6 with a part and a gap too many", "::1:2:3:4:5:6:7:8"),
            ("nothing", ""),
            ("four numbers that are no address", "300.1.1.1"),
            ("three numbers", "10.0.1"),
            ("a number", "9464"),
            ("a name with an empty part", "kpis..example"),
        )
    ),
    ("text for a list", 'dimensions = "plan"\n', ['1: dimensions: must be a list, not "plan"']),
    ("a list for a table", "http = []\n", ["1: http: must be a table: write [http]"]),
    ("an array for a table", "[[http]]\nport = 1\n", ["1: http: must be a table: write [http]"]),
    (
        "a table for an array",
        '[window]\nsize = "1h"\n',
        ["1: window: must be an array of tables: write [[window]]"],
    ),
    ("a duration without unit", "dedupe = 600\n", [f"1: dedupe: {DURATION}; not 600"]),
    ("a duration in words", 'dedupe = "ten"\n', [f'1: dedupe: {DURATION}; not "ten"']),
    (
        "a duration of more digits than any has",
        'dedupe = "99999999999999999999999d"\n',
        ['1: dedupe: must be 0s to 7d, not "99999999999999999999999d"'],
    ),
    (
        "a duration off its range",
        'evaluate = "2h"\n',
        ['1: evaluate: must be 100ms to 1h, not "2h"'],
    ),
    (
        "a list of brokers",
        '[kafka]\nbootstrap = ["a:1", "b:2"]\n',
        [
            (
                "2: kafka.bootstrap: must be text in quotes; several are separated by commas in one"
                ' text, such as "kafka-1:9092,kafka-2:9092"'
            )
        ],
    ),
    (
        "brokers without a form",
        '[kafka]\nbootstrap = "kafka://h:1"\n',
        [
            (
                "2: kafka.bootstrap: must be host:port, several comma-separated, such as "
                '"kafka-1:9092,kafka-2:9092", not "kafka://h:1"'
            )
        ],
    ),
    *(
        (
            f"a broker without a port that there is: {value}",
            f'[kafka]\nbootstrap = "{value}"\n',
            [f'2: kafka.bootstrap: {BROKERS}, not "{value}"'],
        )
        for value in ("kafka", "kafka:0", "kafka:65536", "kafka:99999", "a:1,b", "[::1]", "a:1,")
    ),
    *(
        (
            f"a broker that can't be there: {value}",
            f'[kafka]\nbootstrap = "{value}"\n',
            [f'2: kafka.bootstrap: {BROKERS}, not "{value}"'],
        )
        for value in (
            "a..b:1",
            "10.0.0.256:1",
            "10.1:1",
            "[10.0.0.1]:1",
            "[:::1]:1",
            "[1::2::3]:1",
            "[::1:1",
            "::1:1",
            "a:1,[kafka]:1",
        )
    ),
    (
        "a group that can't begin a topic's name",
        '[kafka]\ngroup = "a b"\n',
        ['2: kafka.group: must be 1 to 150 letters, digits, dots, hyphens, underscores, not "a b"'],
    ),
    (
        "a mechanism that isn't there",
        '[kafka]\nsasl_mechanism = "SCRAM-SHA-255"\n',
        [
            (
                '2: kafka.sasl_mechanism: unknown mechanism "SCRAM-SHA-255"; did you mean '
                '"SCRAM-SHA-256"? allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512'
            )
        ],
    ),
    (
        "a negative weight",
        "[health.weights]\nusage = -1\n",
        ["2: health.weights.usage: must be 0 to 1000000, not -1"],
    ),
    # Dimensions and rollups
    (
        "a dimension that isn't snake_case",
        'dimensions = [\n  "plan",\n  "salesArea",\n]\n',
        ['3: dimensions[1]: must be snake_case, such as "plan" or "sales_area", not "salesArea"'],
    ),
    (
        "a reserved dimension",
        'dimensions = ["window"]\n',
        [
            (
                '1: dimensions[0]: "window" is reserved; reserved are: currency, kpi, le, '
                "quantile, rule, severity, window"
            )
        ],
    ),
    (
        "a dimension that only a histogram may have",
        'dimensions = ["channel", "le"]\n',
        [
            (
                '1: dimensions[1]: "le" is reserved; reserved are: currency, kpi, le, '
                "quantile, rule, severity, window"
            )
        ],
    ),
    (
        "more values together than the registry takes",
        'rollups = [[]]\ndimensions = ["a","b","c","d","e"]\nmax_values_per_dimension = 100000\n',
        [
            (
                "3: max_values_per_dimension: 100000 for each of 5 dimensions are more than 400000"
                " together; allowed: 1 to 80000"
            )
        ],
    ),
    (
        "a dimension twice",
        'dimensions = ["plan", "plan"]\n',
        ['1: dimensions[1]: "plan" stands there twice'],
    ),
    (
        "a rollup of no dimension",
        'rollups = [\n  [],\n  ["channel", "plan"],\n]\n',
        ['3: rollups[1][1]: "plan" is not one of the dimensions; allowed: channel, region'],
    ),
    (
        "a rollup twice, in another order",
        'rollups = [["channel", "region"], ["region", "channel"]]\n',
        ['1: rollups[1]: ["region", "channel"] stands there twice'],
    ),
    ("the total twice", "rollups = [[], []]\n", ["1: rollups[1]: [] stands there twice"]),
    (
        "no rollup at all",
        "rollups = []\n",
        ["1: rollups: must have at least one entry; [] is the total"],
    ),
    # Windows
    (
        "a size that is no multiple",
        '[[window]]\nsize = "1h"\npane = "7m"\n',
        ["2: window[0].size: 1h is not a multiple of the pane 7m"],
    ),
    (
        "too many panes",
        '[[window]]\nsize = "1h"\npane = "10s"\n',
        ["3: window[0].pane: 1h has 360 panes of 10s; allowed: 240, from 15s on"],
    ),
    (
        "one pane too many",
        '[[window]]\nsize = "241s"\npane = "1s"\n',
        ["3: window[0].pane: 241s has 241 panes of 1s; allowed: 240, from 1005ms on"],
    ),
    (
        "a pane that is too short",
        '[[window]]\nsize = "1s"\npane = "500ms"\n',
        ['3: window[0].pane: must be 1s to 366d, not "500ms"'],
    ),
    (
        "two windows of one size",
        '[[window]]\nsize = "1h"\npane = "1m"\n[[window]]\nsize = "60m"\npane = "5m"\n',
        ["5: window[1].size: there is another window of 1h"],
    ),
    ("a window without pane", '[[window]]\nsize = "1h"\n', ["1: window[0].pane: is missing"]),
    (
        "no window at all",
        "window = []\n",
        ["1: window: must have at least one entry; leave it out for the default windows"],
    ),
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("content", "lines"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_mistake_is_one_line_with_place_key_and_what_is_allowed(
    content: str, lines: list[str]
) -> None:
    check_said(content, lines)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems('dedupe = 1\n[http]\nport = -1\nhots = ""\n[[alert]]\nfor = 1\n')
    assert [p.split(": ")[:2] for p in found] == [
        ["cxkpi.toml:1", "dedupe"],
        ["cxkpi.toml:3", "http.port"],
        ["cxkpi.toml:4", "http.hots"],
        ["cxkpi.toml:5", "alert[0].name"],
        ["cxkpi.toml:6", "alert[0].for"],
    ]


@pytest.mark.parametrize(
    ("value", "servers"),
    [
        ("kafka:1", ["kafka:1"]),
        ("a:65535, b:9092", ["a:65535", "b:9092"]),
        ("[::1]:9092,10.0.0.1:59999", ["[::1]:9092", "10.0.0.1:59999"]),
        ("k_1.eu-west.example.:1,[fe80::1%eth0]:2", ["k_1.eu-west.example.:1", "[fe80::1%eth0]:2"]),
    ],
)
def test_brokers_are_taken_with_any_port_that_there_is(value: str, servers: list[str]) -> None:
    Path("cxkpi.toml").write_text(f'[kafka]\nbootstrap = "{value}"\n')
    kafka = load(None, {}).kafka
    assert (kafka.bootstrap, kafka.servers) == (value, servers)


def test_a_sink_that_is_refused_hides_nothing_of_the_others() -> None:
    found = problems(
        'dimensions = ["window"]\n[[sink]]\ntype = "webhok"\n[[sink]]\ntype = "webhook"\n'
        '[[sink]]\ntype = "log"\nurl = "http://a/"\n[[sink]]\ntype = "slack"\nurls = ""\n'
    )
    assert [p.split(": ")[:2] for p in found] == [
        ["cxkpi.toml:1", "dimensions[0]"],
        ["cxkpi.toml:3", "sink[0].type"],
        ["cxkpi.toml:4", "sink[1].url"],
        ["cxkpi.toml:8", "sink[2].url"],
        ["cxkpi.toml:11", "sink[3].urls"],
    ]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"a = 1\nb =\n", "cxkpi.toml:2: not TOML: "),
        (b"a = 1\na = 2\n", "cxkpi.toml:2: not TOML: "),
        (b"a = [1,\n", "cxkpi.toml:2: not TOML: "),
        (b"[http]\n[http]\n", "cxkpi.toml:2: not TOML: cannot declare [http] twice"),
        (b"[a.'b c']\n[a.'b c']\n", 'cxkpi.toml:2: not TOML: cannot declare [a."b c"] twice'),
        (b"a = 1\n\n# \xff\n", "cxkpi.toml:3: not UTF-8"),
        (b"a = " + b"[" * 100_000, "cxkpi.toml"),
    ],
)
def test_what_is_no_toml_is_unreadable(content: bytes, start: str) -> None:
    Path("cxkpi.toml").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(None, {})
    assert str(refused.value).startswith(start)
    assert "\n" not in str(refused.value)
    assert refused.value.unreadable
    assert isinstance(refused.value, StopError)


@pytest.mark.parametrize("depth", range(20, 1_000, 20))
def test_deep_nesting_is_refused_in_a_line_however_deep(depth: int) -> None:
    assert len(problems("dimensions = " + "[" * depth + "]" * depth)) == 1


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(ConfigError) as refused:
        load(Path("other.toml"), {})
    assert str(refused.value) == "other.toml: no such file or directory"
    assert refused.value.unreadable


def test_a_folder_is_no_file() -> None:
    with pytest.raises(ConfigError) as refused:
        load(Path(), {})
    assert str(refused.value) == ".: is a directory"


def test_a_long_value_is_cut_where_it_is_shown() -> None:
    (problem,) = problems(f'[kafka]\ngroup = "{"x" * 5_000}"\n')
    assert len(problem) < 250
    assert problem.endswith("x…")
