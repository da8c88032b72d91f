"""The pages of the KPIs: whole, current, and right where they give numbers."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream.cli.replay import replay
from stream.core.catalogue import EVENT_TYPES, KPIS
from stream.core.kpi import Example, Kpi
from stream.core.worked import worked
from stream.reference import PAGES
from stream.reference.kpi_pages import kpi_page, story_lines, story_sample
from tests.fixtures.prometheus import PrometheusTools

ROOT = Path(__file__).parents[2]
EXAMPLES = [(kpi, example) for kpi in KPIS.values() for example in kpi.meaning.examples]


@pytest.mark.parametrize(
    ("kpi", "example"), EXAMPLES, ids=lambda x: x.id if isinstance(x, Kpi) else x.told
)
def test_an_example_is_what_the_code_makes_of_its_numbers(kpi: Kpi, example: Example) -> None:
    found = worked(kpi, example.columns)[:3]
    for number, said in zip(found, (example.value, example.lower, example.upper), strict=True):
        if said is not None:
            digits = len(repr(said).partition(".")[2])
            assert number is not None
            assert round(number, digits) == said


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_the_numbers_of_an_example_are_those_of_the_formula(kpi: Kpi) -> None:
    named = {term.column for term in kpi.terms}
    for example in kpi.meaning.examples:
        assert set(example.columns) - named <= {"payments"}


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_replay_says_of_a_story_what_the_page_says(kpi: Kpi, tmp_path: Path) -> None:
    page = kpi_page(kpi)
    (block,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (tmp_path / "story.jsonl").write_text(block)
    (at,) = re.findall(r"`cxkpi replay FILE --at (\S+)`", page)
    done = CliRunner().invoke(replay, [str(tmp_path / "story.jsonl"), "--at", at, "--json"])
    assert done.exit_code == 0
    outcomes = json.loads(done.stderr.splitlines()[-1])["outcomes"]
    assert {name for name, n in outcomes.items() if n} == {"accepted"}
    said = story_sample(kpi)
    assert said.row() in json.loads(done.stdout)


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_every_event_of_a_story_feeds_the_kpis_of_its_topic(kpi: Kpi) -> None:
    kinds = {told.event["type"] for told in kpi.meaning.story}
    topic = {kind for k in KPIS.values() if k.topic == kpi.topic for kind in k.meaning.fed_by}
    assert kinds <= topic
    assert len(story_lines(kpi)) >= 3
    assert all(told.does for told in kpi.meaning.story)


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_an_entry_has_all_that_its_page_needs(kpi: Kpi) -> None:
    meaning = kpi.meaning
    assert len(meaning.definition) > 60
    assert meaning.examples
    assert meaning.left_out
    assert meaning.corrections
    assert meaning.fed_by
    assert (kpi.bounds is None) or any(e.lower is not None for e in meaning.examples)
    low = float("-inf") if kpi.lowest is None else kpi.lowest
    high = float("inf") if kpi.highest is None else kpi.highest
    assert low <= meaning.alert_at <= high
    # Something that can be looked up: a year, or where it stands.
    assert re.search(r"\b(19|20)\d\d\b|\([a-z]+(\.[a-z]+)+(/[a-z]+)?\)|manual", kpi.source)


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_what_feeds_a_kpi_are_fields_of_events(kpi: Kpi) -> None:
    for kind, fields in kpi.meaning.fed_by.items():
        assert set(fields) <= set(EVENT_TYPES[kind].struct.__struct_fields__)


def test_every_event_feeds_a_kpi() -> None:
    assert set(chain.from_iterable(k.meaning.fed_by for k in KPIS.values())) == set(EVENT_TYPES)


def test_there_is_a_page_for_each_kpi_and_no_other() -> None:
    written = {path.stem for path in (ROOT / "docs" / "kpis").iterdir()}
    assert written == set(KPIS)
    index = PAGES["kpis.md"]()
    assert set(re.findall(r"\(kpis/(\w+)\.md\)", index)) == set(KPIS)


def test_prometheus_takes_every_query_that_a_page_shows(
    prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    queries = [
        query
        for kpi in KPIS.values()
        for query in re.findall(r"```promql\n(.*?)```", kpi_page(kpi), re.DOTALL)
    ]
    assert len(queries) >= len(KPIS)
    rules = "".join(
        f"  - record: q{number}\n    expr: |\n" + "".join(f"      {x}\n" for x in q.splitlines())
        for number, q in enumerate(queries)
    )
    path = tmp_path / "rules.yml"
    path.write_text(f"groups:\n- name: pages\n  rules:\n{rules}")
    done = subprocess.run(
        [prometheus_tools.promtool, "check", "rules", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
