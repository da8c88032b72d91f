"""A rule that can not work is refused in one line: file, line, key, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.mistakes import DURATION, Case, check_said

ALERT = '[[alert]]\nname = "A"\n'
CHURN = ALERT + 'kpi = "churn"\nwindow = "1h"\n'
SEVERITY = (
    "6: alert[0].severity: must be 1 to 64 printable characters on one line, no blank at either "
    "end, not "
)

CASES: list[Case] = [
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
    *(
        (
            f"{threshold} as a threshold on {kpi}",
            ALERT + f'kpi = "{kpi}"\nwindow = "1h"\nabove = "{threshold}"\n',
            [f'5: alert[0].above: must be a number, not "{threshold}"; {kpi} is {form}'],
        )
        for kpi, threshold, form in (
            ("art", "2h", "in seconds: 7200"),
            ("art", "250ms", "in seconds: 0.25"),
            ("art", "7200", "in seconds: 7200"),
            ("art", "long", "in seconds: 7200 for 2h"),
            ("csat", "70%", "a share: 0.7"),
            ("csat", "0.7", "a share: 0.7"),
            ("csat", "70", "a share: 0.7 for 70%"),
            ("art", "50%", "in seconds: 7200 for 2h"),
            ("csat", "nan", "a share: 0.7 for 70%"),
            ("csat", "1h", "a share: 0.7 for 70%"),
            ("nps", "-5%", "in points: -5"),
            ("nps", "high", "in points"),
            ("clv", "100 EUR", "in its currency"),
            ("cart_recovered", "many", "in carts"),
        )
    ),
    (
        "a threshold in words on a KPI that isn't known",
        ALERT + 'kpi = "chrun"\nwindow = "1h"\nbelow = "70%"\n',
        [
            '3: alert[0].kpi: unknown KPI "chrun"; did you mean "churn"? allowed: nps, csat, ',
            '5: alert[0].below: must be a number, not "70%"',
        ],
    ),
    (
        "a clear in words",
        CHURN + 'above = 0.05\nclear = "3%"\n',
        ['6: alert[0].clear: must be a number, not "3%"; churn is a share: 0.03'],
    ),
    (
        "a clear that is beyond above",
        CHURN + "above = 0.05\nclear = 0.06\n",
        ["6: alert[0].clear: must be at most 0.05, the threshold, not 0.06"],
    ),
    (
        "a clear that is beyond above by little",
        CHURN.replace("churn", "art") + "above = 1234568\nclear = 1234568.5\n",
        ["6: alert[0].clear: must be at most 1234568, the threshold, not 1234568.5"],
    ),
    (
        "a clear that is beyond below",
        CHURN + "below = 0.05\nclear = 0.04\n",
        ["6: alert[0].clear: must be at least 0.05, the threshold, not 0.04"],
    ),
    (
        "a factor of 0",
        CHURN + 'baseline = "7d"\nfactor = 0\n',
        ["6: alert[0].factor: must be 0.001 to 1000, not 0"],
    ),
    (
        "a part that is more than the whole",
        CHURN + 'baseline = "7d"\nfactor = 2\nmin_covered = 90\n',
        ["7: alert[0].min_covered: must be 0 to 1, not 90"],
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
        "a baseline that is the window itself",
        CHURN + 'baseline = "1h"\nfactor = 2\n',
        ['5: alert[0].baseline: must be longer than the window, not "1h"; allowed: 24h, 7d'],
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
        "a window that is missing beside a KPI and a threshold that are refused",
        ALERT + 'kpi = "npz"\nwindow = "2h"\nby = ["x"]\nabove = "x"\n',
        [
            '3: alert[0].kpi: unknown KPI "npz"; did you mean "nps"? allowed: nps, csat, ',
            '4: alert[0].window: there is no window "2h"; allowed: 5m, 1h, 24h, 7d',
            (
                '5: alert[0].by: ["x"] is not one of the rollups; allowed: [], ["channel"], '
                '["region"], '
            ),
            '6: alert[0].above: must be a number, not "x"',
        ],
    ),
    (
        "a second rule beside one of another topic",
        '[[alert]]\nname = ""\ntopic = "cx.surveys"\nabsent_for = "1m"\n'
        + ALERT
        + 'kpi = "csat"\nwindow = "2h"\nabove = 0.5\nclear = 0.6\n',
        [
            (
                "2: alert[0].name: must be 1 to 1000 printable characters on one line, no blank at"
                ' either end; not ""'
            ),
            (
                '3: alert[0].topic: unknown topic "cx.surveys"; did you mean "cx.survey"? allowed: '
                "cx.survey, cx.ticket, cx.cart, cx.subscription, cx.visit, cx.signal"
            ),
            '8: alert[1].window: there is no window "2h"; allowed: 5m, 1h, 24h, 7d',
            "10: alert[1].clear: must be at most 0.5, the threshold, not 0.6",
        ],
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
]


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("content", "lines"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_rule_that_can_not_work_is_one_line_with_place_and_key(
    content: str, lines: list[str]
) -> None:
    check_said(content, lines)
