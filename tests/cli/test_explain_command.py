"""``cxkpi explain``: one screen that says why, and one line where it can't."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from stream.cli import cli, explain_output
from stream.cli import explain as command
from stream.core.catalogue import KPIS
from tests.replay.test_explain import answers, company

RULE = """\
[[alert]]
name = "NpsLow"
kpi = "nps"
window = "7d"
below = 10
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("CXKPI_")]:
        monkeypatch.delenv(name)
    lines = [*answers(50, 20, 30), *company()]
    Path("all.jsonl").write_bytes(b"\n".join(answers(50, 20, 30)) + b"\n")
    Path("company.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    Path("empty.jsonl").touch()
    Path("bad.jsonl").write_bytes(b"{\n")
    Path("rule.toml").write_text(RULE)


def _explain(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments])


def test_it_says_why_on_one_screen() -> None:
    done = _explain("nps", "all.jsonl", "--config", "rule.toml")
    gone = "promoters 50 → 0, detractors 30 → 0, answers 100 → 0"
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Net promoter score (nps) · total · 7d · 2026-03-02 12:00:00 UTC",
        "Promoters minus detractors per 100 answers.",
        "",
        "  20.0 points  95% sure: 2.65 to 36.2",
        "  data covers 0.00% of 7d, from 2026-03-02 12:00:00 UTC on",
        "",
        "  100 · (promoters − detractors) / answers",
        "  = 100 · (50 − 30) / 100",
        "  = 20.0 points",
        "",
        "  promoters    50  NPS answers of at least 9 of 10",
        "  detractors   30  NPS answers below 7 of 10",
        "  answers     100  Answers to NPS surveys",
        "",
        "Records of cx.survey: 100 accepted",
        "",
        "By channel      share  value   adds  without it  moves it by",
        "  app           50.0%   20.0  +10.0        20.0            0",
        "  web           50.0%   20.0  +10.0        20.0            0",
        "",
        "What would change it",
        "  one more promoter +0.79, one more detractor −1.2",
        "  2 more promoters: 21.0 or more",
        "  1 more detractor: 19.0 or less",
        "  10 more detractors: beyond 10.0, the threshold of NpsLow",
        f"  at 2026-03-09 12:00:00 UTC without new events: no value ({gone})",
    ]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("kpi", KPIS)
def test_every_kpi_fits_a_terminal(kpi: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(width=width, force_terminal=True, color_system=None, record=True)
    show = explain_output.show
    monkeypatch.setattr(command, "show", lambda found: show(found, screen))
    done = _explain(kpi, "company.jsonl")
    assert done.exit_code == 0
    lines = screen.export_text().splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines), "nothing is cut"


@pytest.mark.parametrize(
    ("kpi", "window", "at", "said"),
    [
        ("csat", "1h", "12:00:00", None),
        ("csat", "24h", "12:00:00", "data covers 50.0% of 24h, from 2026-03-02 00:00:00 UTC on"),
        ("csat", "24h", "23:59:59", None),
        (
            "clv",
            "24h",
            "06:00:00",
            "data covers 25.0% of 24h, from 2026-03-02 00:00:00 UTC on; too low so far",
        ),
        (
            "churn",
            "24h",
            "06:00:00",
            "data covers 25.0% of 24h, from 2026-03-02 00:00:00 UTC on; too low so far",
        ),
    ],
)
def test_a_window_that_is_not_filled_says_how_far_it_is(
    kpi: str, window: str, at: str, said: str | None
) -> None:
    started = {"event_id": "s", "type": "subscription.started", "subscription_id": "s",
               "occurred_at": "2026-03-02T00:00:00Z", "currency": "EUR", "amount": 1}  # fmt: skip
    Path("young.jsonl").write_text(json.dumps(started))
    asked = (kpi, "young.jsonl", "--window", window, "--at", f"2026-03-02T{at}Z")
    lines = [line.strip() for line in _explain(*asked).stdout.splitlines()]
    assert [line for line in lines if line.startswith("data covers")] == [said] * (said is not None)
    covered = json.loads(_explain(*asked, "--json").stdout)["covered"]
    assert covered > 0.999 if said is None else f"{covered:.1%}" in said


def test_a_window_is_known_by_its_length() -> None:
    said = _explain("nps", "all.jsonl", "--window", "60m").stdout
    assert said == _explain("nps", "all.jsonl", "--window", "1h").stdout
    assert "total · 1h ·" in said


def test_what_has_no_value_says_why_and_shows_no_table_without_rows() -> None:
    opened = {"event_id": "o", "type": "cart.opened", "occurred_at": "2026-03-02T12:00:00Z",
              "cart_id": "c", "labels": {"channel": "web"}}  # fmt: skip
    Path("cart.jsonl").write_text(json.dumps(opened))
    for kpi, said in (
        ("cart_recovered", "  no value  nothing counted in the window of 7d"),
        ("cart_abandonment", "  no value  nothing to divide by in the window of 7d"),
    ):
        done = _explain(kpi, "cart.jsonl")
        assert said in done.stdout.splitlines()
        assert "By channel" not in done.stdout
        assert json.loads(_explain(kpi, "cart.jsonl", "--json").stdout)["segments"] == {}


@pytest.mark.parametrize(
    ("amount", "told"),
    [(20, "  1 more in upsell +5%"), (1e7, "  1 more in upsell +0.00001%"), (0.1, "")],
)
def test_no_step_is_told_that_leads_beyond_what_can_be(amount: float, told: str) -> None:
    paid = {"event_id": "s", "type": "subscription.started", "subscription_id": "s",
            "occurred_at": "2026-03-02T12:00:00Z", "currency": "EUR", "amount": amount}  # fmt: skip
    Path("paid.jsonl").write_text(json.dumps(paid))
    said = _explain("upsell", "paid.jsonl").stdout.splitlines()
    assert [line for line in said if "1 more" in line] == [told] * bool(told)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((1, 0, 0), "one more promoter +0, one more detractor −100"),
        ((0, 0, 1), "one more promoter +100, one more detractor +0"),
        ((0, 1, 0), "one more promoter +50, one more detractor −50"),
    ],
)
def test_a_step_is_told_without_an_exponent(numbers: tuple[int, int, int], told: str) -> None:
    Path("few.jsonl").write_bytes(b"\n".join(answers(*numbers)))
    assert f"  {told}" in _explain("nps", "few.jsonl").stdout.splitlines()


def test_as_json_it_has_the_numbers_of_replay() -> None:
    data = json.loads(_explain("nps", "all.jsonl", "--window", "1h", "--json").stdout)
    rows = json.loads(CliRunner().invoke(cli, ["replay", "all.jsonl", "--json"]).stdout)
    (row,) = [r for r in rows if (r["kpi"], r["window"], r["labels"]) == ("nps", "1h", {})]
    assert {name: data[name] for name in row} == row
    assert data["worked"] == "100 · (50.0 − 30.0) / 100.0"


@pytest.mark.parametrize(
    ("kpi", "said", "outcomes"),
    [("nps", "100 accepted", {"accepted": 100}), ("cart_abandonment", "none", {})],
)
def test_records_that_could_not_be_read_are_told_since_they_may_be_of_the_topic(
    kpi: str, said: str, outcomes: dict[str, int]
) -> None:
    score = json.loads(answers(1, 0, 0)[0]) | {"event_id": "text", "score": "9"}
    lines = [*answers(50, 20, 30), json.dumps(score).encode(), b"{"]
    Path("some.jsonl").write_bytes(b"\n".join(lines))
    topic = KPIS[kpi].topic
    more = "and 2 invalid of any topic (replay --rejects - lists them)"
    assert f"Records of {topic}: {said}, {more}" in _explain(kpi, "some.jsonl").stdout.splitlines()
    data = json.loads(_explain(kpi, "some.jsonl", "--json").stdout)
    assert (data["outcomes"], data["invalid_of_any_topic"]) == (outcomes, 2)


def test_labels_lead_to_a_series_whatever_they_hold() -> None:
    hostile = 'a,b="[red]\x1b[0m'
    event = json.loads(answers(1, 0, 0)[0]) | {"labels": {"channel": hostile, "region": "eu"}}
    Path("hostile.jsonl").write_text(json.dumps(event))
    done = _explain("nps", "hostile.jsonl", "--labels", f"channel={hostile},region=eu")
    assert done.exit_code == 0
    assert r'channel=a,b="[red]\x1b[0m, region=eu' in done.stdout
    assert "\x1b" not in _explain("nps", "hostile.jsonl").stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("npss all.jsonl", "unknown KPI 'npss'; did you mean 'nps'? there is nps, csat,"),
        ("nps all.jsonl --window 2h", "unknown window '2h'; did you mean '24h'? there is 5m, 1h,"),
        ("nps all.jsonl --labels chanel=web", "no label 'chanel': nps has channel, region"),
        ("nps all.jsonl --labels channel=x", "no series with channel='x'; there is 'app', 'web'"),
        ("nps all.jsonl --labels channel", "--labels 'channel': want name=value,…, each name once"),
        ("nps all.jsonl --labels channel=a,channel=b", "--labels 'channel=a,channel=b': want"),
        ("nps all.jsonl --at noon", "--at 'noon' is not an RFC 3339 date-time"),
        ("nps missing.jsonl", "missing.jsonl: no such file or directory"),
        ("nps empty.jsonl", "nothing to explain: no record was accepted (no records)"),
        (
            "nps all.jsonl --at 2020-01-01T00:00:00Z",
            "nothing to explain: no record was accepted (no records up to 2020-01-01T00:00:00",
        ),
        ("nps bad.jsonl", "nothing to explain: no record was accepted (1 invalid)"),
        ("nps all.jsonl --config missing.toml", "missing.toml: no such file or directory"),
    ],
)
def test_what_can_not_be_explained_is_one_line(line: str, said: str) -> None:
    done = _explain(*line.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.removeprefix("Error: ").startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_minus_is_a_minus_in_all_columns() -> None:
    done = _explain("nps", "company.jsonl")
    Path("low.jsonl").write_bytes(b"\n".join(answers(20, 30, 50)) + b"\n")
    low = _explain("nps", "low.jsonl").stdout
    assert "  −30.0 points  95% sure: −" in low
    low = low.replace("2026-03-02", "")
    assert "detractors: −31.0 or less" in low
    assert not re.search(r"-\d", low.partition("UTC")[2].replace("2026-03-09", ""))
    assert not re.search(r" -\d", done.stdout)
