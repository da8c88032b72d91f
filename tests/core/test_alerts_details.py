"""What is looked up where there is a change: the newest part of a window, and all rollups."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.alerts import Closer
from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator
from stream.core.series import Sample, kpi_of
from stream.core.settings import HOUR, MINUTE, SECOND, Settings, Window
from stream.core.topics import signal
from tests.core.running import new_shard
from tests.reference.streams import streams

ALL = frozenset(KPIS)
OF_CUSTOMERS = {kpi.id for kpi in KPIS.values() if kpi.topic == signal.NAME}
#: The newest quarter of the first is as long as the second; the third makes shards count in units
#: of time that are shorter than the others' panes.
SETTINGS = Settings(
    windows=(
        Window("20m", 20 * MINUTE, MINUTE),
        Window("5m", 5 * MINUTE, MINUTE),
        Window("90s", 90 * SECOND, 90 * SECOND),
    )
)


@settings(max_examples=50, deadline=None)
@given(streams(unique=True), streams(unique=True), st.integers(0, 10 * MINUTE))
def test_the_newest_part_is_what_a_window_of_its_size_would_be(
    one: list[bytes], other: list[bytes], later: int
) -> None:
    """In any window's panes, over several shards, for every KPI that isn't kept per customer."""
    shards = [new_shard(SETTINGS) for _ in range(2)]
    for shard, records in zip(shards, (one, other), strict=True):
        shard.ingest(None, records)
    at = max(shard.progress.now for shard in shards) + later
    for shard in shards:
        shard.advance(at)
        shard.fold(at)
    shares = [shard.share() for shard in shards]
    whole = Evaluator(SETTINGS).evaluate(shares, at).samples
    details = Closer(SETTINGS).at(shares, at)({"20m": ALL}, {"20m": ALL})
    newest = {
        (kpi, labels): sample
        for (kpi, _), rollups in details.newest.items()
        for samples in rollups.values()
        for labels, sample in samples.items()
    }
    assert newest == {
        (sample.kpi, sample.labels): renamed(sample)
        for sample in whole
        if sample.window == "5m" and kpi_of(sample.kpi) not in OF_CUSTOMERS
    }
    for sample in whole:
        if sample.window == "20m" and "quantile" not in dict(sample.labels):
            assert details.sample(sample.kpi, "20m", sample.labels) == sample


def renamed(sample: Sample) -> Sample:
    """The sample under the label of the longer window."""
    return Sample(
        sample.kpi,
        "20m",
        sample.labels,
        sample.value,
        sample.lower,
        sample.upper,
        sample.numerator,
        sample.denominator,
    )


def test_a_window_of_one_pane_has_no_newest_part() -> None:
    assert set(Closer(SETTINGS).at([], 0)({}, {}).parts) == {"20m", "5m"}


def test_where_all_windows_have_one_pane_there_are_only_whole_ones() -> None:
    hour = Settings(windows=(Window("1h", 60 * MINUTE, 60 * MINUTE),))
    shard = new_shard(hour)
    details = Closer(hour).at([shard.share()], 0)({"1h": ALL}, {"1h": ALL})
    assert details.whole
    assert (details.newest, details.parts) == ({}, {})


@pytest.mark.parametrize("alone", [(), (Window("90s", 90 * SECOND, 90 * SECOND),)])
def test_what_is_active_is_known_in_the_newest_part_beside_any_window(
    alone: tuple[Window, ...],
) -> None:
    core = Settings((), ((),), (Window("1h", HOUR, MINUTE), *alone))
    shard = new_shard(core)
    base = '{"event_id":"%d","type":"subscription.%s","occurred_at":"2026-03-02T%sZ",%s}'
    records = [
        base % (1, "base", "10:00:00", '"active":50'),
        base % (2, "started", "10:30:00", '"subscription_id":"s"'),
        base % (3, "cancelled", "11:59:00", '"subscription_id":"s"'),
    ]
    assert not shard.ingest(None, [record.encode() for record in records])
    at = shard.progress.now
    shard.fold(at)
    details = Closer(core).at([shard.share()], at)({}, {"1h": ALL})
    found = details.newest_sample("churn", "1h", ())
    assert found is not None
    assert (found.numerator, found.denominator) == (1, 51)
