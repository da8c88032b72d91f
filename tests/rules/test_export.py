"""``cxkpi rules export``: what is written, what is left out, and how the command ends."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from stream.cli.rules import rules
from stream.config import Config
from stream.core.catalogue import KPIS
from stream.metrics.exposition import Exposition, parse
from stream.metrics.families import families
from stream.rules.pipeline import PIPELINE, WORKERS_OWN, Facts, PipelineAlert
from stream.sinks import dispatcher
from tests.fixtures.prometheus import PrometheusTools
from tests.metrics.views import view

EVERY_KIND = """\
evaluate = "10s"

[[alert]]
name = "above"
kpi = "art"
window = "1h"
by = ["channel", "region"]
above = 7200
min_samples = 5
runbook_url = "https://wiki.example/art"
summary = "Tickets of {channel} take {value}, over {threshold} {{{{ literally }}}}, {trend}."

[[alert]]
name = "below, surely"
kpi = "upsell"
window = "5m"
by = ["region"]
below = 0.1
significant = true
on_no_data = "resolve"
keep_firing_for = "1m"

[[alert]]
name = "band"
kpi = "nps"
window = "1h"
above = -10
clear = -20
for = "90s"
significant = true

[[alert]]
name = "fall"
kpi = "cart_recovered"
window = "5m"
baseline = "24h"
factor = 0.5
min_covered = 0.9

[[alert]]
name = "silent"
topic = "cx.cart"
absent_for = "10m"
for = "1m"
severity = "critical"

[[sink]]
type = "slack"
url_env = "NOT_SET"
"""


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(*arguments: str, content: str = EVERY_KIND) -> Result:
    Path("cxkpi.toml").write_text(content)
    return CliRunner().invoke(rules, ["export", *arguments])


#: Said where the runbooks have no address.
NO_LINK = (
    "runbook_url is a path below docs/runbooks, no link in alerts; give --runbooks https://…\n"
)


def alerts(*arguments: str, content: str = EVERY_KIND) -> dict[str, Any]:
    """The exported alerts by name."""
    done = export(*arguments, content=content)
    assert (done.exit_code, done.stderr) == (0, "" if "--runbooks" in arguments else NO_LINK)
    groups = YAML(typ="safe").load(done.stdout)["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("option", ["--job", "--runbooks"])
@pytest.mark.parametrize("blank", ["", " "])
def test_an_option_that_names_something_is_not_empty(option: str, blank: str) -> None:
    done = export(option, blank, "--output", "rules.yml")
    assert done.exit_code == 2
    assert f"Invalid value for '{option}': {blank!r} names nothing" in done.stderr
    assert not Path("rules.yml").exists()


@pytest.mark.parametrize("kpi_rules", ["prometheus", "workers", "none"])
def test_promtool_finds_nothing(
    kpi_rules: str, prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    export("--kpi-rules", kpi_rules, "--output", "rules.yml")
    done = subprocess.run(
        [prometheus_tools.promtool, "check", "rules", "--lint-fatal", "rules.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("quiet {{{topic}}}", "quiet {cx.cart}"),
        ("{{{topic}}}{{{topic}}}", "{cx.cart}{cx.cart}"),
        ("{{{{{topic}}}}}", "{{cx.cart}}"),
        ("{{{{{{{topic}}}}}}}", "{{{cx.cart}}}"),
        ("{{{{{{ {topic} {{ }} {{", "{{{ cx.cart { } {"),
        ("{topic}{{{{ .Nothing }}}}", "cx.cart{{ .Nothing }}"),
        ("{{ok}} {{{value}}}", "{ok} {20m 0s}"),
    ],
)
def test_braces_that_are_meant_are_in_the_alert(
    template: str, shown: str, prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    content = (
        f'[[alert]]\nname = "Silent"\ntopic = "cx.cart"\nabsent_for = "10m"\nsummary = "{template}"'
    )
    export("--output", "rules.yml", "--runbooks", "https://wiki/{{page}}", content=content)
    labels = {"topic": "cx.cart", "kpi": "input", "rule": "Silent", "severity": "warning"}
    annotations = {
        "summary": shown,
        "description": "Time without an event for topic cx.cart is 20m 0s; it was above 10 min.",
        "runbook_url": "https://wiki/{{page}}/KpiAlert.md",
    }
    last = 'cx_last_event_timestamp_seconds{job="cxkpi",topic="cx.cart"}'
    test = {
        "interval": "1m",
        "input_series": [{"series": last, "values": "0x20"}],
        "alert_rule_test": [
            {
                "alertname": "Silent",
                "eval_time": "20m",
                "exp_alerts": [
                    {"exp_labels": {**labels, "job": "cxkpi"}, "exp_annotations": annotations}
                ],
            }
        ],
    }
    Path("tests.yml").write_text(json.dumps({"rule_files": ["rules.yml"], "tests": [test]}))
    done = subprocess.run(
        [prometheus_tools.promtool, "test", "rules", "tests.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_ask_for_metrics_that_a_worker_has_and_for_its_job() -> None:
    known = {family.name for family in families(KPIS)}
    for rule in (
        alerts("--job", "kpis") | alerts("--job", "kpis", "--kpi-rules", "workers")
    ).values():
        asked = re.findall(r"\b((?:cx_|up\b|ALERTS)\w*)(\{[^}]*)?", rule["expr"])
        assert asked
        for metric, matchers in asked:
            assert metric in known or metric in {"up", "ALERTS", "ALERTS_FOR_STATE"}
            assert 'job="kpis"' in matchers, rule["expr"]


def test_an_alert_says_what_the_rule_says() -> None:
    rule = alerts()["Above"]
    assert rule["labels"] == {
        "kpi": "art", "rule": "above", "severity": "warning", "window": "1h",
    }  # fmt: skip
    assert rule["annotations"] == {
        "summary": "Tickets of {{ $labels.channel }} take {{ $value | humanizeDuration }}, over 2 h"
        ' {{ "{{" }} literally }}, unknown.',
        "description": "Average resolution time for channel {{ $labels.channel }}, region"
        " {{ $labels.region }} over 1h {{ if eq $value $value }}is {{ $value | humanizeDuration }}"
        "{{ else }}has no data{{ end }}; it was above 2 h.",
        "runbook_url": "https://wiki.example/art",
    }
    assert "for" not in rule
    assert "keep_firing_for" not in rule


def test_an_alert_without_a_summary_names_its_limit() -> None:
    found = {name: rule["annotations"]["summary"] for name, rule in alerts().items()}
    assert found["BelowSurely"] == "Upsell share is below 10%."
    assert found["Band"] == "Net promoter score is surely above -10."
    assert found["Fall"] == "Recovered carts is below 0.5 × the usual value of 24h."
    assert found["Silent"] == "No event of cx.cart for over 10 min."


def test_missing_input_is_the_time_since_the_latest_event() -> None:
    rule = alerts()["Silent"]
    assert rule["expr"].startswith(
        "# above the limit\n(time() - max without (instance, pod)"
        ' (cx_last_event_timestamp_seconds{job="cxkpi",topic="cx.cart"})) > 600\nor\n'
    )
    assert rule["labels"] == {"kpi": "input", "rule": "silent", "severity": "critical"}
    assert rule["annotations"]["description"] == (
        "Time without an event for topic {{ $labels.topic }} {{ if eq $value $value }}is"
        " {{ $value | humanizeDuration }}{{ else }}has no data{{ end }}; it was above 10 min."
    )


def test_a_baseline_that_is_hardly_covered_is_no_data() -> None:
    rule = alerts()["Fall"]
    enough = 'and on () max (cx_window_covered_ratio{job="cxkpi",window="24h"}) >= 0.9'
    assert rule["expr"].count(enough) == 2
    assert not any("covered" in alert["expr"] for name, alert in alerts().items() if name != "Fall")


def test_a_baseline_that_grows_with_the_window_is_multiplied_first_and_divided_last() -> None:
    """So 3 · 56 / 24 is 7 in floats too, which 3 · (56 · 0.041666666666666664) is not."""
    expression = alerts()["Fall"]["expr"]
    assert re.search(r"< 0\.5 \* .*window=\"24h\".*\}\) / 288\n", expression)


def test_times_are_prometheus_own_and_the_interval_is_evaluate() -> None:
    found = alerts()
    assert found["Band"]["for"] == "90s"
    assert found["BelowSurely"]["keep_firing_for"] == "1m"
    groups = json.loads(export("--json").stdout)["groups"]
    assert [group.get("interval") for group in groups] == ["10s", None]


def test_every_pipeline_alert_is_there_with_or_without_rules_on_kpis() -> None:
    own = [alert.name for alert in PIPELINE]
    assert list(alerts("--kpi-rules", "none")) == own
    assert list(alerts("--kpi-rules", "workers")) == ["CxAlertFiring", *own]
    assert list(alerts(content="")) == own
    assert list(alerts()) == ["Above", "Band", "BelowSurely", "Fall", "Silent", *own]


def test_a_rule_does_not_take_the_name_of_an_alert_on_the_pipeline() -> None:
    taken = EVERY_KIND.replace('"above"', '"cx worker down"').replace('"fall"', '"CxWorkerDown"')
    assert {"CxWorkerDown", "CxWorkerDown2", "CxWorkerDown3"} <= set(alerts(content=taken))


def test_runbooks_can_be_elsewhere() -> None:
    found = alerts("--runbooks", "https://wiki.example/cx/")
    urls = {name: rule["annotations"]["runbook_url"] for name, rule in found.items()}
    assert urls["CxLagHigh"] == "https://wiki.example/cx/CxLagHigh.md"
    assert urls["Fall"] == "https://wiki.example/cx/KpiAlert.md"
    assert urls["Above"] == "https://wiki.example/art"


def test_a_silence_and_limits_of_the_configuration_are_taken() -> None:
    found = alerts("--silence", "10h", content="max_segments = 500\n" + EVERY_KIND)
    assert "> 36000" in found["CxNoEvents"]["expr"]
    assert "/ 500 > 0.9" in found["CxSegmentsNearLimit"]["expr"]
    assert re.findall(r"\[\d+m\]|> [0-9.]+", found["CxRuleEvaluationsSkipped"]["expr"]) == [
        "[15m]",
        "> 0.01",
        "[5m]",
        "> 0",
    ]


@pytest.mark.parametrize(
    ("evaluate", "over", "recent"),
    [("100ms", "15m", "5m"), ("15s", "15m", "5m"), ("1m", "1h", "20m"), ("1h", "60h", "20h")],
)
def test_every_tenth_evaluation_left_out_is_seen_however_rarely_rules_are_evaluated(
    evaluate: str, over: str, recent: str
) -> None:
    found = alerts(content=EVERY_KIND.replace('"10s"', f'"{evaluate}"'))
    expr = found["CxRuleEvaluationsSkipped"]["expr"]
    assert re.findall(r"\[(\w+)\]", expr) == [over, recent]


@pytest.mark.parametrize(
    ("silence", "more", "less"),
    [
        ("1m", 60, 604800),
        ("1h", 3600, 604800),
        ("84h", 302400, 604800),
        ("6d", 518400, 1036800),
        ("8d", 691200, 1382400),
        ("366d", 31622400, 63244800),
    ],
)
def test_a_silence_of_any_length_can_be_an_alert(silence: str, more: int, less: int) -> None:
    expr = alerts("--silence", silence)["CxNoEvents"]["expr"]
    assert re.findall(r"[<>] \d+", expr) == [f"> {more}", f"< {less}"]


@pytest.mark.parametrize("silence", ["0", "59s", "367d", "999999999999999d"])
def test_a_silence_that_is_no_alert_or_always_one_is_refused(silence: str) -> None:
    done = export("--silence", silence)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == (
        f"Error: Invalid value for '--silence': '{silence}' is not in the range 1m to 366d"
    )


def test_what_can_differ_is_said_beside_the_rule() -> None:
    done = export("--json")
    notes = [(note["alert"], note["note"]) for note in json.loads(done.stdout)["notes"]]
    assert [alert for alert, _ in notes] == ["Band", "BelowSurely", "Fall", "Silent", "Silent"]
    text = export().stdout
    for _, note in notes:
        assert note[:40] in text


ODD = 'dimensions = ["alertname", "job"]\nrollups = [[], ["alertname"], ["job"]]\n' + (
    EVERY_KIND.replace('["channel", "region"]', '["job"]')
    .replace("{channel}", "{job}")
    .replace('["region"]', '["alertname"]')
)


def test_a_rule_that_prometheus_cannot_express_is_left_out_and_named() -> None:
    done = export(content=ODD)
    reason = "its alerts would carry the label alertname, which is Prometheus' own"
    assert done.exit_code == 1
    assert done.stderr == f"{NO_LINK}left out: below, surely: {reason}\n"
    assert f"# Left out: below, surely: {reason}.\n" in done.stdout
    assert "BelowSurely" not in done.stdout
    listed = json.loads(export("--json", content=ODD).stdout)["left_out"]
    assert listed == [{"rule": "below, surely", "reason": reason}]


def test_a_dimension_with_a_name_of_the_scrape_has_prometheus_prefix() -> None:
    rule = json.loads(export("--json", content=ODD).stdout)["groups"][0]["rules"][0]
    assert 'exported_job!=""' in rule["expr"]
    assert rule["annotations"]["summary"].startswith("Tickets of {{ $labels.exported_job }} take")


def test_a_dimension_whose_name_begins_like_that_keeps_its_field() -> None:
    content = ODD.replace("job", "exported_orders")
    rule = json.loads(export("--json", content=content).stdout)["groups"][0]["rules"][0]
    assert rule["annotations"]["summary"].startswith(
        "Tickets of {{ $labels.exported_orders }} take"
    )


@pytest.mark.parametrize("kpi_rules", ["prometheus", "workers"])
def test_a_dimension_called_as_a_label_of_the_scrape_stays_part_of_the_alert(
    kpi_rules: str,
) -> None:
    content = (
        'dimensions = ["instance", "pod"]\nrollups = [["instance", "pod"]]\n'
        '[[alert]]\nname = "Low"\nkpi = "csat"\nwindow = "5m"\nby = ["instance", "pod"]\n'
        "below = 0.5\n"
    )
    found = alerts("--kpi-rules", kpi_rules, content=content)
    expr = found["Low" if kpi_rules == "prometheus" else "CxAlertFiring"]["expr"]
    dropped = re.findall(r"max without \(([^)]*)\) \(cx_", expr)
    assert dropped
    assert all("instance" in names.split(", ") for names in dropped)
    assert not any("pod" in names.split(", ") for names in dropped)


def test_a_configuration_that_is_wrong_or_a_file_that_cannot_be_written_is_one_line() -> None:
    done = export(content=EVERY_KIND.replace('"nps"', '"npss"'))
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    done = export("--output", "nowhere/rules.yml")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        "Error: nowhere/rules.yml: no such file or directory",
    )


SELECTOR = re.compile(r"\b(cx_\w+)\{([^}]*)\}")


@pytest.mark.parametrize("alert", [*PIPELINE, WORKERS_OWN], ids=lambda alert: alert.name)
def test_what_an_alert_on_the_pipeline_asks_for_is_on_a_workers_page(alert: PipelineAlert) -> None:
    full = msgspec.structs.replace(
        view(KPIS),
        gaps={"cx.visit": 1},
        forgotten={"tickets": 1},
        notifications={("pager", result): 1 for result in get_args(dispatcher.Result)},
    )
    series = list(parse(Exposition(KPIS).text(full).decode()))
    rule = alert.rule(Facts("cxkpi", Config(), 3600), "")
    for metric, text in SELECTOR.findall(rule.expr):
        wanted = set(re.findall(r'(\w+)="([^"]*)"', text)) - {("job", "cxkpi")}
        found = [s for s in series if s.name == metric and wanted <= set(s.labels.items())]
        assert found, f"{metric}{{{text}}}"
        # It may look at a metric in several ways, and at processes by none of them.
        grouped = set(re.findall(r"by \((\w+)\)", rule.expr))
        ways = [{name} for name in grouped] or [set()]
        is_process = metric.startswith("process_")
        assert is_process or all(any(way <= {*one.labels} for way in ways) for one in found)
