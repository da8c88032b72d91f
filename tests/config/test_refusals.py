"""Each mistake in the file is one line: file, line, key, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import ConfigError, load

ALERT = '[[alert]]\nname = "A"\n'
CHURN = ALERT + 'kpi = "churn"\nwindow = "1h"\n'
CSAT = ALERT + 'kpi = "csat"\nwindow = "1h"\n'
SEVERITY = (
    "6: alert[0].severity: must be 1 to 64 printable characters on one line, no blank at either "
    "end, not "
)
DURATION = "must be a duration: a whole number and a unit, such as 250ms, 5s, 30m, 24h or 7d"

#: What the file says, and what is said about it after "cxkpi.toml:".
CASES: list[tuple[str, str, list[str]]] = [
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
        '[http]\nhost = "a\\nb"\n',
        [
            (
                "2: http.host: must be 1 to 1000 printable characters on one line, no blank at "
                'either end; not "a\\nb"'
            )
        ],
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
        "a duration off its range",
        'evaluate = "2h"\n',
        ['1: evaluate: must be 100ms to 1h, not "2h"'],
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
                '1: dimensions[0]: "window" is reserved; reserved are: currency, kpi, quantile, '
                "rule, severity, window"
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
    # Rules
    (
        "an unknown KPI",
        ALERT + 'window = "1h"\nabove = 1\nkpi = "chrun"\n',
        ['5: alert[0].kpi: unknown KPI "chrun"; did you mean "churn"? allowed: nps, csat, '],
    ),
    (
        "a window that isn't there",
        ALERT + 'kpi = "churn"\nabove = 1\nwindow = "2h"\n',
        ['5: alert[0].window: there is no window "2h"; allowed: 5m, 1h, 24h, 7d'],
    ),
    (
        "a rollup that isn't kept",
        'rollups = [[], ["region"]]\n' + CHURN + 'above = 1\nby = ["channel"]\n',
        ['7: alert[0].by: ["channel"] is not one of the rollups; allowed: [], ["region"]'],
    ),
    (
        "a label that there is none of",
        CHURN + 'above = 1\nby = ["regoin"]\n',
        [
            (
                '6: alert[0].by: ["regoin"] is not one of the rollups; did you mean "region"? '
                'allowed: [], ["channel"], ["region"], ["channel", "region"]'
            )
        ],
    ),
    (
        "a rule on nothing",
        ALERT + "above = 1\n",
        [
            "1: alert[0].kpi: is missing; a rule watches a kpi, or else a topic",
            "1: alert[0].window: is missing; allowed: 5m, 1h, 24h, 7d",
        ],
    ),
    (
        "no threshold",
        CHURN,
        ["1: alert[0]: needs exactly one of above, below, or baseline with factor; none is there"],
    ),
    (
        "two thresholds",
        CHURN + "above = 1\nbelow = 0\n",
        ["1: alert[0]: needs exactly one of above, below, or baseline with factor; both are there"],
    ),
    (
        "a threshold that is no number",
        CHURN + "above = nan\n",
        ["5: alert[0].above: must be a finite number, not NaN"],
    ),
    (
        "a clear that is beyond above",
        CHURN + "above = 0.05\nclear = 0.06\n",
        ["6: alert[0].clear: must be at most above (0.05), not 0.06"],
    ),
    (
        "a clear that is beyond below",
        CHURN + "below = 0.05\nclear = 0.04\n",
        ["6: alert[0].clear: must be at least below (0.05), not 0.04"],
    ),
    (
        "a factor of 0",
        CHURN + 'baseline = "7d"\nfactor = 0\n',
        ["6: alert[0].factor: must be 0.001 to 1000, not 0"],
    ),
    (
        "a factor alone",
        CHURN + "factor = 2\n",
        ["1: alert[0].baseline: is missing; factor needs it"],
    ),
    (
        "a baseline alone",
        CHURN + 'baseline = "7d"\n',
        ["1: alert[0].factor: is missing; baseline needs it"],
    ),
    (
        "a factor that moves nothing",
        CHURN + 'baseline = "7d"\nfactor = 1\n',
        ["6: alert[0].factor: must be more than 1 for a rise or less than 1 for a fall"],
    ),
    (
        "a negative factor",
        CHURN + 'baseline = "7d"\nfactor = -2\n',
        ["6: alert[0].factor: must be 0.001 to 1000, not -2"],
    ),
    (
        "a baseline that isn't longer",
        CHURN + 'baseline = "5m"\nfactor = 2\n',
        ['5: alert[0].baseline: must be longer than the window, not "5m"; allowed: 24h, 7d'],
    ),
    (
        "a baseline that isn't there",
        CHURN + 'baseline = "2d"\nfactor = 2\n',
        ['5: alert[0].baseline: there is no window "2d"; allowed: 24h, 7d'],
    ),
    (
        "a spike of what can be negative",
        ALERT + 'window = "1h"\nbaseline = "7d"\nfactor = 2\nkpi = "nps"\n',
        ["6: alert[0].kpi: nps can be negative, which has no factor; use above or below"],
    ),
    (
        "a spike with a threshold and a clear",
        CHURN + 'baseline = "7d"\nfactor = 2\nabove = 1\nclear = 0\n',
        [
            "7: alert[0].above: does not go with baseline and factor; use above, or these two",
            (
                "8: alert[0].clear: does not go with baseline: a spike ends at factor × the usual "
                "value"
            ),
        ],
    ),
    (
        "a topic that there is none of",
        ALERT + 'absent_for = "10m"\ntopic = "cx.surveys"\n',
        [
            (
                '4: alert[0].topic: unknown topic "cx.surveys"; did you mean "cx.survey"? allowed: '
                "cx.survey, cx.ticket, cx.cart, cx.subscription, cx.visit, cx.signal"
            )
        ],
    ),
    (
        "a topic without how long",
        ALERT + 'topic = "cx.survey"\n',
        ['1: alert[0].absent_for: is missing; topic needs it, such as "10m"'],
    ),
    (
        "how long without a topic",
        CHURN + 'above = 1\nabsent_for = "10m"\n',
        ["6: alert[0].absent_for: does not go without topic"],
    ),
    (
        "a topic and a KPI",
        CHURN + 'topic = "cx.survey"\nabsent_for = "10m"\nby = ["region"]\nabove = 1\n',
        [
            "3: alert[0].kpi: does not go with topic: such a rule watches no KPI",
            "4: alert[0].window: does not go with topic: such a rule watches no KPI",
            "7: alert[0].by: does not go with topic: such a rule watches no KPI",
            "8: alert[0].above: does not go with topic: such a rule watches no KPI",
        ],
    ),
    (
        "no alerts at all for a rule",
        CHURN + "above = 1\nmax_series = 0\n",
        ["6: alert[0].max_series: must be 1 to 10000, not 0"],
    ),
    (
        "a summary with an unknown field",
        CHURN + 'above = 1\nsummary = "{vaule} in {region}"\n',
        [
            (
                '6: alert[0].summary: unknown field "vaule"; did you mean "value"? allowed: '
                "rule, severity, state, kpi, window, labels, value, lower, upper, n, "
                "threshold, baseline, since, trend"
            ),
            (
                '6: alert[0].summary: unknown field "region"; allowed: rule, severity, state, kpi, '
                "window, labels, value, lower, upper, n, threshold, baseline, since, trend"
            ),
        ],
    ),
    (
        "a summary with the currency of a KPI that has none",
        CHURN + 'above = 1\nsummary = "{currency}"\n',
        [
            (
                '6: alert[0].summary: unknown field "currency"; allowed: rule, severity, state, '
                "kpi, window, labels, value, lower, upper, n, threshold, baseline, since, trend"
            )
        ],
    ),
    (
        "a summary with a format",
        CHURN + 'above = 1\nby = ["region"]\nsummary = "{region} {value:.2f}"\n',
        [
            (
                '7: alert[0].summary: unknown field "value:.2f"; did you mean "value"? allowed: '
                "rule, severity, state, kpi, window, labels, value, lower, upper, n, "
                "threshold, baseline, since, trend, region"
            )
        ],
    ),
    (
        "a summary with a brace that stands alone",
        CHURN + 'above = 1\nsummary = "50} of 100"\n',
        ['6: alert[0].summary: "}" stands alone; a brace that is meant is doubled'],
    ),
    (
        "a runbook of another kind",
        CHURN + 'above = 1\nrunbook_url = "ftp://wiki/x"\n',
        ["6: alert[0].runbook_url: must be an http:// or https:// address"],
    ),
    (
        "a dashboard that is no address",
        '[dashboard]\nurl = "grafana:3000"\n',
        ["2: dashboard.url: must be an http:// or https:// address"],
    ),
    (
        "a dashboard with a password",
        '[dashboard]\nurl = "http://a:b@grafana"\n',
        ["2: dashboard.url: a password does not belong in the file, nor in a link"],
    ),
    (
        "a dashboard's page for Grafana's",
        '[dashboard]\nurl = "http://grafana/d/x?orgId=1"\n',
        ["2: dashboard.url: must be the address of Grafana itself, without ? and #"],
    ),
    (
        "two rules of one name",
        CHURN + "above = 1\n" + CHURN + "above = 2\n",
        ['7: alert[1].name: "A" is another alert\'s name'],
    ),
    (
        "a severity that is too long",
        CHURN + f'above = 1\nseverity = "{"x" * 65}"\n',
        [SEVERITY + f'"{"x" * 59}…'],
    ),
    (
        "no severity",
        CHURN + 'above = 1\nseverity = ""\n',
        [SEVERITY + '""'],
    ),
    (
        "a severity that breaks a line",
        CHURN + 'above = 1\nseverity = "a\\nb"\n',
        [SEVERITY + r'"a\nb"'],
    ),
    (
        "a negative duration",
        CHURN + 'above = 1\nfor = "-5s"\n',
        [f'6: alert[0].for: {DURATION}; not "-5s"'],
    ),
    (
        "a runbook that is no address",
        CHURN + 'above = 1\nrunbook_url = "wiki/x"\n',
        ["6: alert[0].runbook_url: must be an http:// or https:// address"],
    ),
    # Emotions, Kafka's security, sinks
    (
        "an emotion on both sides",
        '[emotion]\nnegative = ["sad", "Happy"]\n',
        ['2: emotion.negative[1]: "Happy" is a positive emotion too'],
    ),
    (
        "certificates without encryption",
        '[kafka]\nssl_cafile = "cxkpi.toml"\n',
        [
            (
                "2: kafka.ssl_cafile: has no effect with security_protocol PLAINTEXT; use SSL or "
                "SASL_SSL"
            )
        ],
    ),
    (
        "certificates that aren't there",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "ca.pem"\n',
        ["3: kafka.ssl_cafile: there is no file ca.pem"],
    ),
    (
        "a certificate whose name is too long for the system",
        '[kafka]\nsecurity_protocol = "SSL"\nssl_cafile = "' + "x" * 900 + '"\n',
        ["3: kafka.ssl_cafile: there is no file " + "x" * 900],
    ),
    (
        "a login without name and password",
        '[kafka]\nsecurity_protocol = "SASL_SSL"\n',
        [
            "1: kafka.sasl_username: is missing; SASL_SSL needs it",
            (
                "1: kafka.sasl_password_file: is missing; set it or CXKPI_KAFKA__SASL_PASSWORD for "
                "SASL_SSL"
            ),
        ],
    ),
    (
        "a flush that outlasts its transaction",
        '[kafka]\nflush = "1s"\ntransaction_timeout = "1s"\n',
        ["2: kafka.flush: must be at most half of transaction_timeout"],
    ),
    (
        "a type of sink that isn't there",
        '[[sink]]\ntype = "slak"\n',
        [
            (
                '2: sink[0].type: unknown type "slak"; did you mean "slack"? allowed: log, '
                "webhook, slack, alertmanager, apprise"
            )
        ],
    ),
    (
        "a webhook without address",
        '[[sink]]\ntype = "webhook"\n',
        ["1: sink[0].url: is missing; a webhook needs url, url_env or url_file"],
    ),
    (
        "an address of another kind",
        '[[sink]]\ntype = "webhook"\nurl = "ftp://host/x"\n',
        ["3: sink[0].url: must be an http:// or https:// address"],
    ),
    (
        "an address that is broken",
        '[[sink]]\ntype = "webhook"\nurl = "http://[::1/x"\n',
        ["3: sink[0].url: must be an http:// or https:// address"],
    ),
    (
        "two addresses",
        '[[sink]]\ntype = "webhook"\nurl = "http://h/"\nurl_file = "cxkpi.toml"\n',
        [
            (
                "4: sink[0].url_file: only one of url, url_env, url_file is allowed; url is there "
                "already"
            )
        ],
    ),
    (
        "a log with an address",
        '[[sink]]\ntype = "log"\nurl = "http://h/"\n',
        ["3: sink[0].url: a log takes none"],
    ),
    (
        "an address for each type of sink",
        '[[sink]]\ntype = "alertmanager"\n[[sink]]\ntype = "apprise"\n',
        [
            "1: sink[0].url: is missing; an alertmanager needs url, url_env or url_file",
            "3: sink[1].url: is missing; an apprise needs url, url_env or url_file",
        ],
    ),
    (
        "Alertmanager's API in the place of its root",
        '[[sink]]\ntype = "alertmanager"\nurl = "http://h:9093/api/v2/alerts"\n',
        [
            (
                "3: sink[0].url: must be Alertmanager's root, such as http://127.0.0.1:9093;"
                " /api/v2/alerts is added"
            )
        ],
    ),
    (
        "an address of apprise that may hold a secret",
        (
            '[[sink]]\ntype = "apprise"\nurl = "pagerduty://abc@def"\n'
            '[[sink]]\ntype = "apprise"\nurl = "discord://123/abc"\n'
            '[[sink]]\ntype = "apprise"\nurl = "nothing"\n'
            '[[sink]]\ntype = "apprise"\nurl = "json://host/path"\n'
        ),
        [
            "3: sink[0].url: a password does not belong in the file; use url_env or url_file",
            (
                "6: sink[1].url: the address may hold a secret; use url_env or url_file"
                " (allowed in the file: json, jsons, form, forms, xml, xmls)"
            ),
            (
                "9: sink[2].url: must be an address of apprise, such as mailtos://… or pagerduty://…"
                " (https://appriseit.com/services/ lists them)"
            ),
        ],
    ),
    (
        "Slack's own address in the file",
        '[[sink]]\ntype = "slack"\nurl = "https://hooks.slack.com/services/T/B/x"\n',
        ["3: sink[0].url: Slack's address is a secret; use url_env or url_file"],
    ),
    (
        "a refresh for what forgets nothing",
        (
            '[[sink]]\ntype = "log"\nrefresh = "30s"\n'
            '[[sink]]\ntype = "alertmanager"\nurl = "http://h/"\nrefresh = "10ms"\n'
        ),
        ['7: sink[1].refresh: must be 1s to 1h, not "10ms"'],
    ),
    (
        "a refresh that has no effect",
        '[[sink]]\ntype = "log"\nrefresh = "30s"\n',
        ["3: sink[0].refresh: a log takes none; only alertmanager forgets what fires"],
    ),
    (
        "two sinks of one name",
        '[[sink]]\nname = "hook"\ntype = "log"\n[[sink]]\ntype = "log"\nname = "hook"\n',
        ['6: sink[1].name: "hook" is another sink\'s name'],
    ),
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _problems(content: str | bytes) -> list[str]:
    data = content.encode() if isinstance(content, str) else content
    Path("cxkpi.toml").write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        load(None, {})
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(("content", "lines"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_mistake_is_one_line_with_place_key_and_what_is_allowed(
    content: str, lines: list[str]
) -> None:
    problems = _problems(content)
    assert len(problems) == len(lines)
    for problem, line in zip(problems, lines, strict=True):
        assert "\n" not in problem
        # The KPIs' list and what stands in the file may follow.
        assert problem.startswith(f"cxkpi.toml:{line}")
        assert problem == f"cxkpi.toml:{line}" or line.endswith((", ", "address"))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    problems = _problems('dedupe = 1\n[http]\nport = -1\nhots = ""\n[[alert]]\nfor = 1\n')
    assert [p.split(": ")[:2] for p in problems] == [
        ["cxkpi.toml:1", "dedupe"],
        ["cxkpi.toml:3", "http.port"],
        ["cxkpi.toml:4", "http.hots"],
        ["cxkpi.toml:5", "alert[0].name"],
        ["cxkpi.toml:6", "alert[0].for"],
    ]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"a = 1\nb =\n", "cxkpi.toml:2: not TOML: "),
        (b"a = 1\na = 2\n", "cxkpi.toml:2: not TOML: "),
        (b"a = [1,\n", "cxkpi.toml:2: not TOML: "),
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
    assert refused.value.decision == "stop"


@pytest.mark.parametrize("depth", range(20, 1_000, 20))
def test_deep_nesting_is_refused_in_a_line_however_deep(depth: int) -> None:
    assert len(_problems("dimensions = " + "[" * depth + "]" * depth)) == 1


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
    (problem,) = _problems(f'[kafka]\ngroup = "{"x" * 5_000}"\n')
    assert len(problem) < 250
    assert problem.endswith("x…")
