"""``cxkpi alerts backtest`` from the command line, and the page that it writes."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from stream.backtest.recording import Recording
from stream.backtest.report import Rehearsing, alerts_of
from stream.backtest.rerun import rerun
from stream.cli import cli
from stream.cli.alerts_backtest import PerWeek
from stream.config import load
from stream.core.alerts import RuleSet
from stream.replay.files import read
from stream.replay.run import Replay
from tests.core import incident
from tests.fixtures.chromium import Chromium

EVENTS = str(incident.FOLDER / "events.jsonl")
CONFIG = str(incident.FOLDER / "cxkpi.toml")
MARKED = """
[[incident]]
name = "us churn"
start = 2026-05-04T08:10:00Z
end = 2026-05-04T08:16:00Z
kpi = "churn"

[[incident]]
name = "desk overrun"
start = 2026-05-04T08:42:00Z
end = 2026-05-04T09:20:00Z
labels = { region = "eu" }

[[incident]]
name = "later"
start = 2026-05-05T08:42:00Z
end = 2026-05-05T09:20:00Z
"""


def backtest(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["alerts", "backtest", *arguments])


def recorded(*arguments: str) -> Result:
    return backtest(EVENTS, "--config", CONFIG, *arguments)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("marked") / "incidents.toml"
    path.write_text(MARKED)
    return str(path)


def test_the_recorded_incident_gives_the_alerts_of_its_changes() -> None:
    found = json.loads(recorded("--json").stdout)
    fired = [(c["at"], c["rule"], c["labels"]) for c in incident.changes() if c["to"] == "firing"]
    assert [(a["fired_at"], a["rule"], a["labels"]) for a in found["alerts"]] == fired
    assert found["incidents"] is None
    assert {a["false"] for a in found["alerts"]} == {None}
    assert found["from"] == "2026-05-04T08:00:00Z"


def test_what_the_replay_fires_is_what_the_recording_fires() -> None:
    settings = load(Path(CONFIG), {}, needs=()).core()
    recording = Recording(settings)
    run = Replay(settings, alerts=True, watch=recording.take)
    for batch in read([EVENTS]):
        run.feed(batch)
    changes = run.finish_alerts()
    assert changes
    for prepared in RuleSet.of(settings).rules:
        again = [a for t in recording.tracks(prepared) for a in rerun(prepared.rule, t)]
        told, _ = alerts_of(c for c in changes if c.rule == prepared.rule.name)
        assert sorted(again, key=lambda a: (a.fired_at, a.labels)) == told
    report = Rehearsing(settings, recording, changes, (0, 1), None).report(None)
    assert all(r.tracks for r in report.rules)


def test_alerts_are_judged_by_marked_incidents(marked: str) -> None:
    found = json.loads(recorded("--incidents", marked, "--json").stdout)
    first, second, third = found["incidents"]
    assert first["found_by"] == [
        {
            "rule": "ChurnSpike",
            "labels": {"region": "us"},
            "fired_at": "2026-05-04T08:13:00Z",
            "time_to_detect_seconds": 180.0,
        }
    ]
    assert [f["rule"] for f in second["found_by"]][:2] == ["ChurnSpike", "ArtHigh"]
    assert (third["recorded"], third["found_by"]) == (False, [])
    false = [(a["fired_at"], a["rule"]) for a in found["alerts"] if a["false"]]
    assert false == [("2026-05-04T08:35:00Z", "NpsLow"), ("2026-05-04T08:38:00Z", "NpsLow")]
    (nps,) = [r for r in found["rules"] if r["rule"] == "NpsLow"]
    assert (nps["alerts"], nps["false"], nps["flaps"], nps["detected"]) == (4, 2, 2, 1)
    (churn,) = [r for r in found["rules"] if r["rule"] == "ChurnSpike"]
    assert (churn["incidents"], churn["detected"], churn["missed"]) == (2, 2, [])
    configured = [t for t in churn["thresholds"] if t["configured"]]
    assert [t["threshold"] for t in configured] == [2.0]
    assert configured[0]["alerts"] == churn["alerts"]


def test_an_alert_tells_its_worst_sample() -> None:
    (art,) = json.loads(recorded("--rule", "ArtHigh", "--json").stdout)["alerts"]
    assert art["worst"]["value"] > art["threshold"] == 900
    assert art["resolved_at"] is None


def test_the_terminal_shows_plots_tables_and_a_suggestion(marked: str) -> None:
    text = recorded("--incidents", marked, "--suggest", "200/week").stdout
    for words in (
        "7 rules over 1 h 10 min",
        "2 of 2 incidents found, 2 false alerts, 2 flaps.",
        "ChurnSpike · region=us",
        "churn 10m by region above 2 × that of 2h",
        "95% bounds",
        "ArtHigh: other thresholds",
        "not in the recording",
        "ArtHigh: for 200 alerts a week: above = ",
    ):
        assert words in text, words
    assert "\x1b" not in text
    firing = [line for line in text.splitlines() if line.strip().startswith("firing ")]
    assert len(firing) == 7
    assert all("█" in line for line in firing)


def test_only_what_fires_from_a_moment_on_counts() -> None:
    found = json.loads(recorded("--from", "2026-05-04T09:00:00Z", "--json").stdout)
    assert min(a["fired_at"] for a in found["alerts"]) == "2026-05-04T09:02:00Z"
    assert found["from"] == "2026-05-04T09:00:00Z"


def test_nothing_counts_before_the_first_event() -> None:
    whole, early = (
        recorded(*since, "--json").stdout for since in ([], ["--from", "2026-05-03T00:00:00Z"])
    )
    assert early == whole


def test_only_what_is_held_back_from_a_moment_on_counts() -> None:
    whole, part = (
        {r["rule"]: r["held_back"] for r in json.loads(recorded(*since, "--json").stdout)["rules"]}
        for since in ([], ["--from", "2026-05-04T09:09:57Z"])
    )
    assert sum(whole.values()) > 0
    assert sum(part.values()) == 0


@pytest.mark.parametrize("folder", ["/missing", "/proc"])
def test_where_no_page_can_be_written_nothing_is_read(folder: str) -> None:
    done = backtest("/missing.jsonl", "--config", CONFIG, "--html", f"{folder}/page.html")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {folder}/page.html: ")
    assert done.stderr.count("\n") == 1


def test_a_page_that_is_not_written_leaves_nothing_and_changes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for there in (None, "former"):
        if there is not None:
            page.write_text(there)
        done = backtest("/missing.jsonl", "--config", CONFIG, "--html", str(page))
        assert done.stderr.startswith("Error: /missing.jsonl: ")
        assert (page.read_text() if page.exists() else None) == there


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "CsatLo"], "--rule 'CsatLo': no such rule; did you mean \"CsatLow\"? allowed:"),
        (["--incidents", "/missing.toml"], "/missing.toml: no such file or directory"),
        (["--max-samples", "10"], "more than 10 samples of the rules' series: name fewer rules"),
        (
            ["--from", "2026-05-04T09:09:57.549Z"],
            "--from is not before the last event, 2026-05-04T",
        ),
        (["--html", "/missing/page.html"], "/missing/page.html: no such file or directory"),
    ],
)
def test_what_can_not_be_used_is_said_in_one_line(arguments: list[str], message: str) -> None:
    done = recorded(*arguments)
    assert done.exit_code == 2
    # Of a file's content there may be many lines, as of a configuration.
    assert done.stderr.startswith(message if "--incidents" in arguments else f"Error: {message}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suggest", "-1/week"], "is no number of alerts a week, such as 2/week"),
        (["--suggest", "2/day"], "is no number of alerts a week, such as 2/week"),
        (["--from", "noon"], "'noon' is not an RFC 3339 date-time"),
    ],
)
def test_an_option_of_another_form_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = recorded(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("0/week", 0), ("0.5/week", 0.5), ("2", 2), ("1e6", 1e6), ("1e7", None),
     ("-0.1", None), ("nan", None), ("inf", None), ("2/day", None)],
)  # fmt: skip
def test_a_number_of_alerts_a_week_may_be_none_at_all(text: str, number: float | None) -> None:
    if number is None:
        with pytest.raises(click.BadParameter, match="is no number of alerts a week"):
            PerWeek().convert(text, None, None)
    else:
        assert PerWeek().convert(text, None, None) == number


def test_without_rules_or_events_there_is_nothing_to_rehearse(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    (tmp_path / "none.toml").write_text("")
    without_rules = backtest(EVENTS, "--config", str(tmp_path / "none.toml"))
    without_events = backtest(str(empty), "--config", CONFIG)
    assert without_rules.stderr == "Error: there is no [[alert]] in the configuration\n"
    assert without_events.stderr == "Error: there is no accepted event in the input\n"
    assert (without_rules.exit_code, without_events.exit_code) == (2, 2)


class Page(HTMLParser):
    """Elements with their attributes, and whether they are closed in order."""

    VOID = frozenset({"meta", "br", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


HOSTILE = "\"><img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
HOSTILE_CONFIG = """
evaluate = "30s"
dimensions = ["region"]
rollups = [[], ["region"]]
[[alert]]
name = '''<script>document.title='hit'</script>'''
kpi = "csat"
window = "5m"
by = ["region"]
below = 0.5
min_samples = 1
"""


def hostile(folder: Path) -> Path:
    """A page of labels, rules and incidents that are markup."""
    labels = {"region": HOSTILE[:64]}
    events = [
        {
            "event_id": f"e{i}",
            "type": "survey.responded",
            "response_id": f"r{i}",
            "survey": "csat",
            "score": 1,
            "occurred_at": f"2026-03-02T10:{i:02}:00Z",
            "labels": labels,
        }
        for i in range(10)
    ]
    marked = {
        "name": HOSTILE,
        "start": "2026-03-02T10:02:00Z",
        "end": "2026-03-02T10:05:00Z",
        "labels": {"region": "</title><script>"},
    }
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "cxkpi.toml").write_text(HOSTILE_CONFIG)
    (folder / "incidents.jsonl").write_text(json.dumps(marked))
    done = backtest(
        str(folder / "events.jsonl"),
        *("--config", str(folder / "cxkpi.toml")),
        *("--incidents", str(folder / "incidents.jsonl")),
        *("--html", str(folder / "page.html")),
    )
    assert done.exit_code == 0, done.stderr
    return folder / "page.html"


def elements(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    parser = Page()
    parser.feed(page.read_text())
    assert parser.open == []
    return parser.elements


def test_the_page_stands_alone_and_can_be_heard(tmp_path: Path, marked: str) -> None:
    page = tmp_path / "page.html"
    assert recorded("--incidents", marked, "--html", str(page)).exit_code == 0
    text = page.read_text()
    found = elements(page)
    for word in ("http:", "https:", "<script", "<link", "<iframe", "@import", "url("):
        assert word not in text, word
    assert not [a for _, attrs in found for a in attrs if a in {"src", "href", "onload"}]
    plots = [attrs for tag, attrs in found if tag == "svg" and "role" in attrs]
    assert len(plots) == 9
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    assert [tag for tag, _ in found if tag == "h1"] == ["h1"]
    assert "prefers-color-scheme:dark" in text
    again = tmp_path / "again.html"
    recorded("--incidents", marked, "--html", str(again))
    assert again.read_text() == text


def test_hostile_labels_names_and_incidents_stay_text(tmp_path: Path) -> None:
    found = elements(hostile(tmp_path))
    assert {tag for tag, _ in found}.isdisjoint({"script", "img"})
    assert not [a for _, attrs in found for a in attrs if a.startswith("on")]


def test_a_browser_shows_the_page_and_runs_nothing(tmp_path: Path, chromium: Chromium) -> None:
    page = hostile(tmp_path)
    shown = chromium.run("--dump-dom", page.as_uri(), profile=tmp_path / "profile")
    assert "<title>Alert rehearsal</title>" in shown
    assert "<script" not in shown
    assert "1 alert" in shown
