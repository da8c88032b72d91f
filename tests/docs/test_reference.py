"""The pages of docs/ say what is true of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream import reference
from stream.cli import COMMANDS
from stream.config import load
from stream.core.catalogue import EVENT_TYPES, KPIS, TOPICS
from stream.metrics.families import families

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
IDS = [str(p.relative_to(ROOT)) for p in PAGES]
_FAMILIES = {f.name for f in families(KPIS)}
#: Names that begin like a metric of ours and are something else.
_SUMMARY_PARTS = ("_sum", "_count")


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_reference_page_is_what_the_code_says_now(name: str) -> None:
    written = (ROOT / "docs" / name).read_text()
    assert written == reference.PAGES[name](), "run python -m stream.reference"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_metric_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bcx_[a-z0-9_]+[a-z0-9]\b", page.read_text()))
    unknown = {
        n
        for n in named - _FAMILIES
        if not any(n.removesuffix(part) in _FAMILIES for part in _SUMMARY_PARTS)
    }
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(?:\.venv/bin/)?cxkpi ([a-z]+)", page.read_text()))
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_topic_and_event_type_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    topics = set(re.findall(r"`(cx\.[a-z]+)(?:\.dlq)?`", text))
    assert topics <= {*TOPICS, "cx.alert"}
    kinds = set(re.findall(r"`((?:survey|ticket|cart|subscription|visit|customer)\.[a-z]+)`", text))
    assert kinds <= set(EVENT_TYPES)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:stream|docs|schemas|tests|grafana|deploy|bench|examples)/[\w./*-]*)`",
        page.read_text(),
    )
    missing = [n for n in named if not list(ROOT.glob(n.rstrip("/")))]
    assert not missing


def shown(page: Path) -> list[str]:
    """The configurations that a page shows."""
    return re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def test_every_page_that_begins_a_configuration_shows_it_and_these_do() -> None:
    found = {name for page, name in zip(PAGES, IDS, strict=True) if shown(page)}
    begun = {name for page, name in zip(PAGES, IDS, strict=True) if "```toml" in page.read_text()}
    of_kpis = {name for name in IDS if name.startswith("docs/kpis/")}
    assert found == begun
    assert found >= {"README.md", "docs/alerts.md", "docs/configuration.md", *of_kpis}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_configuration_that_a_page_shows_is_sound(page: Path, tmp_path: Path) -> None:
    for text in shown(page):
        (tmp_path / "cxkpi.toml").write_text(text)
        load(tmp_path / "cxkpi.toml", {}, needs=()).core()


def test_the_readme_names_every_command() -> None:
    named = set(re.findall(r"`cxkpi ([a-z]+)", (ROOT / "README.md").read_text()))
    assert set(COMMANDS) <= named
