"""The page says what was measured, what was not, and never more than that."""

from typing import Any

import pytest

from bench import report
from bench.goals import of_rounds
from bench.report import results_of

STAMP = {"date": "2026-11-25 12:00 UTC", "commit": "abc", "load": 0.1, "machine": "2 cores"}


def subject(name: str, table: str, *costs: float, failed: str = "") -> dict[str, Any]:
    runs = [{"events": 1000, "cpu": c / 1000, "seconds": 1.0, "peak_mib": 50.0} for c in costs]
    return {"name": name, "table": table, "text": f"what {name} is", "runs": runs, "failed": failed}


def rounds(*subjects: dict[str, Any]) -> dict[str, Any]:
    written = {
        "events": 1000, "mean_bytes": 300.0, "minutes": 56.0, "topics": {"cx.visit": 1000},
        "changes": 10, "duplicates": 5,
    }  # fmt: skip
    answers = {"count": 1000, "mean_bytes": 210.0}
    return {"stamp": STAMP, "written": written, "answers": answers, "subjects": list(subjects)}


LIKE = (
    subject("worker-nps", "like for like", 4.0, 4.0, 5.0),
    subject("fetch-nps", "like for like", 2.0, 2.0, 2.0),
    subject("quix-keyed", "like for like", failed="no wheel for this Python\nand more"),
)


def test_a_subject_that_was_not_measured_is_named_with_its_reason_and_has_no_row() -> None:
    page = report.page({"rounds": rounds(*LIKE)})
    assert "- **quix-keyed** was not measured: no wheel for this Python\n" in page
    assert "\n| quix-keyed |" not in page


def test_ratios_stand_beside_the_subjects_and_in_the_goals() -> None:
    page = report.page({"rounds": rounds(*LIKE)})
    assert "| fetch-nps | 1,000 | 2.00 / 2.00 / 2.00 | 1,000 / 1,000 / 1,000 |" in page
    assert "| 0.4 / 0.5 / 0.5 |\n" in page
    assert (
        "| like for like: raw fetch ÷ worker | at least 0.4 | 0.4 / 0.5 / 0.5 | reached |" in page
    )


def test_every_verdict_of_the_page_is_that_of_its_goal() -> None:
    part = rounds(*LIKE)
    page = report.page({"rounds": part})
    for goal in of_rounds(results_of(part)):
        assert f"| {goal.text} | {goal.wanted} | {goal.measured} | {goal.verdict} |" in page


def test_a_table_that_was_not_measured_is_not_there() -> None:
    page = report.page({"rounds": rounds(*LIKE)})
    assert "## Like for like" in page
    assert "## Everything on" not in page
    assert "## Curves" not in page


CURVES = {
    "stamp": STAMP,
    "events": 300_000,
    "curves": {
        "windows": [
            ["1", [{"micros": 2.0, "evaluation_ms": 5.0, "samples": 800}]],
            ["6", [{"micros": 2.2, "evaluation_ms": 30.0, "samples": 4800}]],
        ]
    },
}


def test_curves_are_a_table_and_a_plot_with_every_point() -> None:
    page = report.page({"curves": CURVES})
    assert "| 6 | 2.20 | 30.0 | 4,800 |" in page
    plot = report.plot({"curves": CURVES})
    assert plot is not None
    assert plot.count("<circle") == 2
    assert ">2.2</text>" in plot


def test_there_is_no_plot_of_what_was_not_measured() -> None:
    assert report.plot({"rounds": rounds(*LIKE)}) is None


@pytest.mark.parametrize(("p99", "verdict"), [(1999.0, "reached"), (2001.0, "not reached")])
def test_latency_is_judged_by_its_99th_percentile(p99: float, verdict: str) -> None:
    latency = {
        "stamp": STAMP, "wanted": 10.0, "rate": 9.0, "seconds": 30.0, "probes": 100, "p50": 1.0,
        "p95": 2.0, "p99": p99, "longest": 9999.0, "scrape": 1.0, "scrapes": 5,
        "cpu_per_million": 3.0, "cores": 0.5, "page_kib": 80.0,
    }  # fmt: skip
    page = report.page({"latency": latency})
    assert f"| event to scraped gauge at half load, p99 | at most 2,000 ms | {p99:,.0f} ms" in page
    assert page.count(f"| {verdict} |") == 1


def test_one_machine_is_described_once() -> None:
    page = report.page({"rounds": rounds(*LIKE), "curves": CURVES})
    assert page.count("2 cores") == 1
    other = CURVES | {"stamp": STAMP | {"machine": "64 cores"}}
    assert report.page({"rounds": rounds(*LIKE), "curves": other}).count(" cores.") == 2
