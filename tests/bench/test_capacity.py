"""The capacity page says what the figures say, and the formulas are what they claim to be."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plans
from bench.capacity import blocks, filled
from bench.merge import Fit
from bench.plans import BEYOND, ENTITY_BYTES, LOADS, Constants, Load, most_segments

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "bench" / "scaling.json").read_text())
FITTED = Fit(record=1e-5, cell=1e-8, once=3e-3, row=3e-7, window_cell=1e-7, sample=1e-6)
MEASURED = Constants(
    event=5e-6, full_speed=0.1, shard=0.02, families=0.2, rest=0.05, base=3e8, state_event=60.0,
    block_event=1000.0, block_shard=7e5, share_cell=3.3, share_shard=1500.0, cells_factor=3.6,
    cells_power=0.46,
    fit=FITTED,
)  # fmt: skip


def test_the_tables_of_the_page_are_those_of_the_figures() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert page == filled(page, blocks(FIGURES)), "run python -m bench.capacity --page"


def test_bytes_of_entities_are_those_that_the_page_on_memory_tells() -> None:
    page = (ROOT / "docs" / "memory.md").read_text()
    told = re.findall(r"^\| ([a-z ]+) \| [^|]+ \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    names = {"signal of a customer": "signal", "id of an event": "id"}
    assert {names.get(n, n): (int(a), int(b)) for n, a, b in told} == ENTITY_BYTES


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for sheet"):
        filled("no tables here", {"sheet": "x"})


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
def test_a_plan_has_room_for_its_load(load: Load) -> None:
    found = plans.plan(load, MEASURED)
    assert found.cores + found.standing <= found.workers * plans.BUSY + 0.1
    assert found.memory / found.workers <= plans.WORKER_BYTES + MEASURED.base
    assert found.workers <= found.partitions
    for kind, n in load.live.items():
        assert kind == "id" or n / found.partitions <= found.remembered


@given(st.floats(1.1, 50), st.sampled_from(LOADS))
def test_more_events_never_need_less(times: float, load: Load) -> None:
    few = plans.plan(load, MEASURED)
    many = plans.plan(replace(load, events=load.events * times), MEASURED)
    for name in ("cores", "workers", "partitions", "state_per_second", "log_bytes"):
        assert getattr(many, name) >= getattr(few, name), name


def test_what_shares_write_is_bounded_whatever_the_rate() -> None:
    load = LOADS[0]
    busy, busier = (
        plans.plan(replace(load, events=n), MEASURED, partitions=6).share_per_second
        for n in (1e7, 1e9)
    )
    assert busier == busy


def test_the_load_beyond_is_too_much_for_one_group() -> None:
    found = plans.plan(BEYOND, plans.constants(FIGURES), 1_000, 100)
    assert found.cores > 100 or found.owner > 1


def test_an_owner_with_the_most_segments_is_just_not_too_busy() -> None:
    n = most_segments(MEASURED, 24, 22)
    busy = [plans.owner(MEASURED, 24, s, s * 88, s * 88) for s in (n, n + 1)]
    assert busy[0] <= plans.OWNER_BUSY < busy[1]


def test_time_and_events_are_told_apart_by_runs_of_different_length() -> None:
    runs = [
        {"cpu": [(9e-6 * n + 0.2 * s) / w] * w, "events": n, "seconds": s}
        for n, s, w in ((800_000, 20, 1), (800_000, 11, 2), (600_000, 9, 3))
    ]
    event, time = plans.full_speed_of(runs)
    assert math.isclose(event, 9e-6)
    assert math.isclose(time, 0.2)
