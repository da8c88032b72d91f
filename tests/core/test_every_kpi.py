"""What holds of every KPI of the catalogue, whatever it counts."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.bounds import WILSON
from stream.core.catalogue import KPIS, LAYOUT
from stream.core.evaluate import Evaluator, Wanted
from stream.core.labels import NO_LABELS
from stream.core.series import Sample, kpi_of
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.values import Values
from tests.core.running import new_shard, samples, settings_of
from tests.reference.config import DEFAULTS, MINUTE
from tests.reference.streams import NOON, configs, streams

#: They take signals or subscriptions beside counters: ``test_every_kpi_by_events``.
BESIDE_COUNTERS = {"clv", "health", "at_risk"}
COUNTED = [kpi for kpi in KPIS if kpi not in BESIDE_COUNTERS]

#: (minutes before noon, currency, numbers by counter)
Fact = tuple[int, str | None, list[tuple[str, int]]]

facts: st.SearchStrategy[list[Fact]] = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.sampled_from([None, "EUR", "USD"]),
        st.lists(
            st.tuples(
                st.sampled_from(sorted(LAYOUT.counters) + sorted(LAYOUT.sketches)),
                st.integers(0, 10**15),
            ),
            min_size=1,
            max_size=6,
            unique_by=lambda count: count[0],
        ),
    ),
    max_size=12,
)


def shard_of(core: Settings, values: Values, *added: list[Fact], minus: list[Fact] = ()) -> Shard:  # type: ignore[assignment]
    """A shard that has counted facts, and has taken some back."""
    shard = new_shard(core, values)
    for part in added:
        for ago, currency, counts in part:
            row = shard.segments.row(NO_LABELS, currency, NOON)
            shard.tally.add(NOON - ago * MINUTE, row, LAYOUT.contribution(counts))
        shard.fold(NOON)
    for ago, currency, counts in minus:
        row = shard.segments.row(NO_LABELS, currency, NOON)
        shard.tally.take_back(NOON - ago * MINUTE, row, LAYOUT.contribution(counts))
    shard.fold(NOON)
    return shard


def evaluated(core: Settings, kpi: str, *shards: Shard) -> list[Sample]:
    wanted = {w.label: Wanted(frozenset({kpi})) for w in core.windows}
    found = Evaluator(core).evaluate([s.share() for s in shards], NOON, wanted).samples
    return sorted(
        (s for s in found if s.value is not None or s.numerator or s.denominator),
        key=lambda s: (s.kpi, s.window, s.labels),
    )


@pytest.mark.parametrize("kpi", KPIS)
def test_counters_alone_show_what_they_are_said_to(kpi: str) -> None:
    core = Settings()
    names = (*LAYOUT.counters, *LAYOUT.sketches)
    every = [(name, n) for n, name in enumerate(names, 10)]
    shown = evaluated(core, kpi, shard_of(core, Values(core), [(0, "EUR", every)]))
    assert bool(shown) == (kpi in COUNTED)


@pytest.mark.parametrize("kpi", COUNTED)
@settings(max_examples=15, deadline=None)
@given(facts, facts, facts)
def test_parts_merge_in_any_order_and_grouping(
    kpi: str, a: list[Fact], b: list[Fact], c: list[Fact]
) -> None:
    core = Settings()
    values = Values(core)
    parts = [shard_of(core, values, part) for part in (a, b, c)]
    whole = evaluated(core, kpi, shard_of(core, values, a, b, c))
    for order in itertools.permutations(parts):
        assert evaluated(core, kpi, *order) == whole
    assert evaluated(core, kpi, parts[0], shard_of(core, values, b, c)) == whole
    assert evaluated(core, kpi, shard_of(core, values, c, a), parts[1]) == whole


@pytest.mark.parametrize("kpi", COUNTED)
@settings(max_examples=15, deadline=None)
@given(facts, facts)
def test_what_is_taken_back_leaves_no_trace(kpi: str, kept: list[Fact], taken: list[Fact]) -> None:
    core = Settings()
    values = Values(core)
    never = shard_of(core, values, kept)
    back = shard_of(core, values, taken, kept, minus=taken)
    assert evaluated(core, kpi, back) == evaluated(core, kpi, never)
    for window in core.windows:
        assert len(back.windows.cells[window.label]) == len(never.windows.cells[window.label])


@pytest.mark.parametrize("kpi", KPIS)
def test_without_contributions_there_is_no_value(kpi: str) -> None:
    core = Settings()
    wanted = {w.label: Wanted(frozenset({kpi})) for w in core.windows}
    found = Evaluator(core).evaluate([new_shard(core).share()], NOON, wanted).samples
    for sample in found:
        assert (sample.value, sample.lower, sample.upper) == (None, None, None)
        assert not sample.numerator
        assert not sample.denominator
    if not KPIS[kpi].labels:
        assert {s.window for s in found} == {w.label for w in core.windows}


def test_a_million_adds_and_take_backs_in_any_order_leave_nothing() -> None:
    core = Settings()
    shard = new_shard(core)
    row = shard.segments.row(NO_LABELS, "EUR", NOON)
    rolls = Random(1)
    names = sorted(LAYOUT.counters) + sorted(LAYOUT.sketches)
    kinds = [
        LAYOUT.contribution([(name, rolls.randrange(10**12)) for name in rolls.sample(names, 4)])
        for _ in range(200)
    ]
    added = [(NOON - rolls.randrange(300_000), kind) for kind in kinds for _ in range(2)]
    todo = [(*fact, is_back) for fact in added for is_back in (False, True)]
    for _ in range(1250):
        rolls.shuffle(todo)
        for at, kind, is_back in todo:
            (shard.tally.take_back if is_back else shard.tally.add)(at, row, kind)
            # In the midst of a round cells are above and below zero.
            if not rolls.randrange(1600):
                shard.fold(NOON)
    shard.fold(NOON)
    assert [len(cells) for cells in shard.windows.cells.values()] == [0] * len(core.windows)


def _subscription(event: str, at: str, number: int) -> bytes:
    return (
        f'{{"event_id":"e{number}","type":"subscription.{event}","occurred_at":"2026-03-02T{at}Z",'
        f'"subscription_id":"a"}}'
    ).encode()


@settings(max_examples=60, deadline=None)
@given(configs, streams())
@example(
    DEFAULTS,
    [
        _subscription("cancelled", "12:00:00", 1),
        _subscription("started", "11:00:59.999", 2),
        _subscription("cancelled", "11:01:00", 3),
    ],
)
def test_values_and_bounds_are_where_the_catalogue_says(
    config: object, records: list[bytes]
) -> None:
    core = settings_of(config)  # type: ignore[arg-type]
    shard = new_shard(core)
    shard.ingest(None, records)
    if shard.progress.first is None:
        return
    for sample in samples(core, [shard], shard.progress.now):
        kpi = KPIS[kpi_of(sample.kpi)]
        if sample.value is None:
            assert sample.lower is None
            assert sample.upper is None
            continue
        low = float("-inf") if kpi.lowest is None else kpi.lowest
        high = float("inf") if kpi.highest is None else kpi.highest
        for number in (sample.value, sample.lower, sample.upper):
            assert number is None or low - 1e-9 <= number <= high + 1e-9
        if sample.lower is not None and sample.upper is not None:
            assert sample.lower <= sample.upper
            # The bounds of a promoter score are those of three answers more, so of a single
            # answer they need not hold the score.
            assert kpi.bounds is not WILSON or sample.lower <= sample.value <= sample.upper
        assert (kpi.bounds is None) <= (sample.lower is None)
