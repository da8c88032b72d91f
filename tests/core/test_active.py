"""Subscriptions that were active at a moment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.active import ActiveStore
from stream.core.label_set import LabelSet, Needed, active_at, coarser
from stream.core.labels import NO_LABELS, intern
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.values import Values

NOON = 1_772_452_800_000
PANE = 60
UNIT = 10


def label_set(net: dict[int, int], *bases: tuple[int, int]) -> LabelSet:
    """``net``: started minus cancelled by time; ``bases``: (time, active) in order of arrival."""
    found = LabelSet((None,))
    for at, n in net.items():
        found.count(at // UNIT, n)
    for arrival, (at, active) in enumerate(bases, 1):
        found.set_base(at // UNIT, (at, arrival, active))
    return found


@pytest.mark.parametrize(
    ("net", "bases", "active"),
    [
        pytest.param({}, [], 0, id="nothing"),
        pytest.param({0: 5, 119: -1, 120: 9}, [], 4, id="no base: what was before the start"),
        pytest.param({59: 9, 60: 2, 120: 7}, [(60, 10)], 12, id="forward from the base"),
        pytest.param({60: 2, 90: 3}, [(90, 10)], 15, id="a base stands at its pane's start"),
        pytest.param({120: 2, 150: 3}, [(150, 10)], 10, id="a base in the start's own pane"),
        pytest.param({119: 9, 120: 2, 180: 5}, [(200, 10)], 8, id="back from the first one after"),
        pytest.param({}, [(60, 1), (0, 2), (300, 3)], 1, id="the latest before the start"),
        pytest.param({}, [(181, 1), (239, 2), (240, 3)], 2, id="the latest of the pane after it"),
        pytest.param({}, [(61, 1), (61, 2)], 2, id="of one time the later arrival"),
        pytest.param({60: -3}, [(60, 1)], -2, id="below zero as it is"),
    ],
)
def test_active_at_the_start_follows_from_bases_and_what_was_counted(
    net: dict[int, int], bases: list[tuple[int, int]], active: int
) -> None:
    assert active_at(120, PANE, UNIT, [label_set(net, *bases)]) == active


def test_parts_of_one_label_set_add_up_under_one_base() -> None:
    parts = [label_set({60: 1}, (60, 10)), label_set({70: 2, 30: 100})]
    assert active_at(120, PANE, UNIT, parts) == 13


_times = st.integers(0, 40 * 86_400).map(lambda seconds: seconds * 1000)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(_times, st.integers(-5, 5), max_size=30),
    st.lists(st.tuples(_times, st.integers(0, 50)), max_size=4),
    st.integers(10, 60).map(lambda day: day * DAY + 12_345_000),
)
def test_joining_old_units_changes_no_window_from_then_on(
    net: dict[int, int], bases: list[tuple[int, int]], now: int
) -> None:
    windows = Settings().windows
    unit = 5 * SECOND

    def found() -> LabelSet:
        made = LabelSet((None,))
        for at, n in net.items():
            if at <= now:
                made.count(at // unit, n)
        for arrival, (at, active) in enumerate(bases, 1):
            if at <= now:
                made.set_base(at // unit, (at, arrival, active))
        return made

    fine, coarse = found(), found()
    coarse.coarsen(coarser(coarse, windows, now), unit)
    assert len(coarse) <= len(fine)
    for later in (0, 5 * SECOND, 2 * MINUTE, HOUR, DAY, 9 * DAY):
        for w in windows:
            start = w.start(now + later)
            assert active_at(start, w.pane_ms, unit, [coarse]) == active_at(
                start, w.pane_ms, unit, [fine]
            )


def test_a_busy_label_set_without_a_base_stays_small() -> None:
    core = Settings()
    store = ActiveStore(core, 5 * SECOND, Values(core))
    for at in range(0, 30 * DAY, 10 * MINUTE):
        store.count(NO_LABELS, at, 1, at)
        if at % DAY == 0:
            list(store.expire(at))
    (found,) = store.sets.values()
    list(store.expire(30 * DAY))
    assert len(found) < 900
    assert found.net.total == 30 * 24 * 6


def test_a_busy_label_set_is_gone_through_again_only_once_it_has_grown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All its entries, of which there may be a day's of the finest, at each look would cost more
    than all else."""
    looks: list[int] = []
    coarsen = LabelSet.coarsen

    def counted(found: LabelSet, needed: Needed, unit_ms: int, at: int) -> bool:
        looks.append(len(found))
        return coarsen(found, needed, unit_ms, at)

    monkeypatch.setattr(LabelSet, "coarsen", counted)
    core = Settings()
    store = ActiveStore(core, 5 * SECOND, Values(core))
    for at in range(0, 4 * DAY, MINUTE):
        store.count(NO_LABELS, at, 1, at)
        list(store.expire(at))
    assert len(looks) < 40
    assert max(looks) < 2000, "a day by the minute, older panes, and an eighth of both"
    (found,) = store.sets.values()
    assert found.net.total == 4 * 24 * 60


@pytest.mark.parametrize("told", [False, True])
def test_a_label_set_that_grows_between_two_looks_at_all_is_gone_through(told: bool) -> None:
    core, now = Settings(), 100 * DAY
    store = ActiveStore(core, 5 * SECOND, Values(core))
    list(store.expire(now))
    for at in range(now - 20 * DAY, now, HOUR // 2):
        store.count(NO_LABELS, at, 1, now)
    if told:
        store.changes()
    list(store.expire(now + 10 * SECOND))
    (found,) = store.sets.values()
    assert len(found) < 20 * 48 // 2
    assert found.net.total == 20 * 48


def _campaigns(days: int) -> ActiveStore:
    """A new label set each day, with 400 starts on that day and nothing after it."""
    core = Settings()
    store = ActiveStore(core, 5 * SECOND, Values(core))
    for at in range(0, days * DAY, DAY // 400):
        labels = intern({"channel": f"campaign-{at // DAY}"})
        store.count(labels, at, 1, at)
        if at % HOUR < DAY // 400:
            list(store.expire(at))
    return store


def test_a_label_set_that_does_not_grow_any_more_gets_coarse_with_time() -> None:
    store = _campaigns(20)
    of_age = [len(found) for found in store.sets.values()]
    assert of_age[-1] == 400, "a base may still come up to a day late"
    assert max(of_age[:-10]) <= 2, "no window tells its times apart any more"
    assert all(found.net.total == 400 for found in store.sets.values())


def test_a_label_set_gets_coarse_whether_or_not_the_shard_was_restarted() -> None:
    store = _campaigns(20)
    core = Settings()
    restarted = ActiveStore(core, 5 * SECOND, Values(core))
    for key in store.sets:
        restarted.load(key.hex(), store.dump(key.hex()))
    for days in (20, 21, 40):
        for one in (store, restarted):
            one.count(NO_LABELS, days * DAY, 1, days * DAY)
            list(one.expire(days * DAY))
        assert [s.dump() for s in store.sets.values()] == [
            s.dump() for s in restarted.sets.values()
        ]
    assert max(len(found) for found in store.sets.values()) <= 3


def test_what_is_read_at_once_of_a_long_time_is_exact_in_whatever_order_bases_come() -> None:
    core, now = Settings(), 100 * DAY
    store = ActiveStore(core, 5 * SECOND, Values(core))
    for at in range(now - 10 * DAY, now, HOUR // 2):
        store.count(NO_LABELS, at, 1, now)
    list(store.expire(now + HOUR))
    store.set_base(NO_LABELS, now - 9 * DAY + 100 * SECOND, 1000, now + HOUR)
    (found,) = store.sets.values()
    hour = core.windows[1]
    start = hour.start(now)
    counted = (start - (now - 9 * DAY + MINUTE)) // (HOUR // 2)
    assert active_at(start, hour.pane_ms, 5 * SECOND, [found]) == 1000 + counted


def test_after_a_restart_label_sets_are_made_coarser_a_few_at_a_look() -> None:
    core = Settings()
    store = ActiveStore(core, 5 * SECOND, Values(core))
    for n in range(100):
        net = [(5 * i, 1) for i in range(400)]
        key = f"{n}".encode()
        store.load(key.hex(), [key, (None, None, None), 0, net, []])
    store.count(NO_LABELS, 40 * DAY, 1, 40 * DAY)
    left = [100]
    while left[-1]:
        list(store.expire(40 * DAY))
        left.append(sum(len(found) > 2 for found in store.sets.values()))
    assert left == [100, 50, 0]


def test_a_busy_label_set_stays_small_after_a_base_that_is_old() -> None:
    core = Settings()
    store = ActiveStore(core, 5 * SECOND, Values(core))
    first = 7 * HOUR + 123 * SECOND
    store.set_base(NO_LABELS, first, 1000, first)
    for at in range(0, 30 * DAY, 10 * MINUTE):
        store.count(NO_LABELS, at, 1, at)
        if at % DAY == 0:
            list(store.expire(at))
    (found,) = store.sets.values()
    list(store.expire(30 * DAY))
    assert len(found) < 900
    for window in core.windows:
        start, base = window.start(30 * DAY), first // window.pane_ms * window.pane_ms
        counted = sum(base <= at < start for at in range(0, 30 * DAY, 10 * MINUTE))
        assert active_at(start, window.pane_ms, 5 * SECOND, [found]) == 1000 + counted


def test_what_cancels_out_in_one_shard_still_counts_under_the_base_of_another() -> None:
    core = Settings()
    one, two = (ActiveStore(core, 5 * SECOND, Values(core)) for _ in range(2))
    one.count(NO_LABELS, 0, 1, 0)
    two.set_base(NO_LABELS, DAY, 1, DAY)
    one.count(NO_LABELS, 2 * DAY, -1, 2 * DAY)
    one.changes()
    two.changes()
    for store in (one, two):
        list(store.expire(40 * DAY))
    parts = [*one.sets.values(), *two.sets.values()]
    assert active_at(40 * DAY, 5 * SECOND, 5 * SECOND, parts) == 0


@pytest.mark.parametrize("with_base", [False, True])
def test_a_label_set_of_which_nothing_is_left_is_forgotten_where_room_is_short(
    with_base: bool,
) -> None:
    core = replace(Settings(), max_segments=1)
    store = ActiveStore(core, 5 * SECOND, Values(core))
    store.count(NO_LABELS, 0, 1, 0)
    store.count(NO_LABELS, DAY, -1, DAY)
    if with_base:
        store.set_base(NO_LABELS, 2 * DAY, 0, 2 * DAY)
    store.changes()
    assert list(store.expire(15 * DAY)) == []
    assert list(store.expire(40 * DAY)) == [NO_LABELS.key.hex()]
    assert not store.sets


def test_starts_and_cancellations_that_find_no_room_are_told_of_since_no_base_replaces_them() -> (
    None
):
    core = replace(Settings(), max_segments=2)
    store, elsewhere = (ActiveStore(core, 5 * SECOND, Values(core)) for _ in range(2))
    plans = [intern({"plan": name}) for name in ("basic", "pro", "late")]
    for labels in plans:
        store.count(labels, NOON, 5, NOON)
        store.count(labels, NOON + HOUR, -2, NOON + HOUR)
    assert store.without_room == 7
    elsewhere.set_base(plans[2], NOON + DAY, 3, NOON + DAY)
    assert (elsewhere.refused_bases, elsewhere.without_room) == (0, 0)
    assert plans[2].key not in store.sets


def test_a_shard_without_the_base_tells_apart_what_came_before_it_and_after() -> None:
    """As long as it has few moments, however old the base of another shard is."""
    core = Settings()
    with_base, other = (Shard(core, Values(core)) for _ in range(2))
    labels = intern({"plan": "pro"})
    base = NOON + 25 * MINUTE + 30 * SECOND
    with_base.active.set_base(labels, base, 1000, base)
    starts = [base + n * MINUTE for n in range(-20, 20)]
    for at in starts:
        other.active.count(labels, at, 1, at)
    for at in range(base, base + 20 * DAY, 6 * HOUR):
        other.active.count(labels, at + HOUR, 1, at + HOUR)
        starts.append(at + HOUR)
        for shard in (with_base, other):
            list(shard.active.expire(at + HOUR))
        parts = [shard.active.sets[labels.key] for shard in (with_base, other)]
        for window in core.windows:
            start = window.start(at + 2 * HOUR)
            pane = base // window.pane_ms * window.pane_ms
            if pane <= start:
                wanted = 1000 + sum(pane <= s < start for s in starts)
                assert active_at(start, window.pane_ms, 5 * SECOND, parts) == wanted
