"""Figures stay beside the page that they are for, part by part."""

import json
import os
from pathlib import Path
from typing import Any

from bench.__main__ import _Run
from bench.measured import Failed
from bench.stored import Stored

STAMP = {"date": "today", "commit": "abc", "load": 0.0, "machine": "2 cores"}


def test_a_part_that_is_measured_anew_leaves_the_others(tmp_path: Path) -> None:
    Stored(tmp_path / "page.md").save("latency", {"p99": 1}, STAMP)
    Stored(tmp_path / "page.md").save("curves", {"events": 5}, STAMP)
    Stored(tmp_path / "page.md").save("latency", {"p99": 2}, STAMP)
    assert Stored(tmp_path / "page.md").parts == {
        "latency": {"p99": 2, "stamp": STAMP},
        "curves": {"events": 5, "stamp": STAMP},
    }


def test_pages_do_not_share_their_figures(tmp_path: Path) -> None:
    Stored(tmp_path / "page.md").save("latency", {"p99": 1}, STAMP)
    assert Stored(tmp_path / "other.md").parts == {}


def test_nothing_is_kept_for_no_page() -> None:
    stored = Stored(Path(os.devnull))
    stored.save("latency", {"p99": 1}, STAMP)
    assert list(stored.parts) == ["latency"]
    assert Stored(Path(os.devnull)).parts == {}


def test_a_part_that_fails_is_told_and_keeps_what_was_found_before(tmp_path: Path) -> None:
    run = _Run(tmp_path / "page.md")
    Stored(tmp_path / "page.md").save("curves", {"events": 5, "curves": {}}, STAMP)

    def fail() -> dict[str, Any]:
        raise Failed("no more events")

    run.part("curves", fail)
    assert run.failed == ["curves: no more events"]
    kept = json.loads((tmp_path / "page.json").read_text())
    assert kept["curves"]["events"] == 5
