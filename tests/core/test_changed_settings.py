"""A state that is read under other settings holds what ``facts`` promises, and nothing else."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import labels
from stream.core.labels import NO_LABELS
from stream.core.migration import Migration
from stream.core.series import Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings, Window
from stream.core.shape import Shape, facts, sources
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.state_records import pack, unpack
from stream.core.values import OTHER, Segment
from tests.core.running import new_shard, samples
from tests.core.test_against_the_reference import FUZZ as STREAMS
from tests.reference.comparing import by_key, differing
from tests.reference.streams import NOON, streams, text

Log = dict[bytes, bytes]

#: Each example runs four shards.
FUZZ = settings(STREAMS, max_examples=STREAMS.max_examples // 5)
WEEK = Window("7d", 7 * DAY, HOUR)
FORMER = (
    Window("5m", 5 * MINUTE, 5 * SECOND),
    Window("1h", HOUR, MINUTE),
    Window("2h", 2 * HOUR, 2 * MINUTE),
    Window("24h", DAY, 10 * MINUTE),
)
LATER = (
    Window("5m", 5 * MINUTE, 5 * SECOND),
    Window("5m", 5 * MINUTE, 10 * SECOND),
    Window("1h", HOUR, MINUTE),
    Window("1h", HOUR, 5 * MINUTE),
    Window("12h", 12 * HOUR, 10 * MINUTE),
    Window("24h", DAY, 6 * MINUTE),
    Window("2d", 2 * DAY, HOUR),
)
#: KPIs that ask how many subscriptions are active.
ACTIVE = {"churn", "retention", "clv"}


def some(windows: Sequence[Window]) -> st.SearchStrategy[tuple[Window, ...]]:
    """Windows of different lengths, the week among them."""
    picked = st.lists(st.sampled_from(windows), unique_by=lambda w: w.label, max_size=3)
    return picked.map(lambda some: (*some, WEEK))


def store(durable: Log, log: StateLog, at: int) -> None:
    """Write a flush as a compacted topic keeps it."""
    for key, value in log.flush(at):
        durable.pop(key, None)
        if value is not None:
            durable[key] = value


def write(shard: Shard, log: StateLog, durable: Log, records: Sequence[bytes], step: int) -> None:
    """Take in records, with a flush every few of them and one at the end."""
    for i in range(0, max(len(records), 1), step):
        shard.ingest(None, records[i : i + step])
        if shard.progress.first is not None:
            shard.advance(shard.progress.now)
            store(durable, log, shard.progress.now)


def read(durable: Log, under: Settings) -> tuple[Shard, StateLog]:
    shard = new_shard(under)
    log = StateLog(shard)
    log.recover(durable)
    return shard, log


def reread(durable: Log, under: Settings) -> tuple[Shard, StateLog]:
    """Read a state under other settings, write what that changes, and read it once more."""
    shard, log = read(durable, under)
    store(durable, log, shard.progress.now)
    assert not log.flush(shard.progress.now)
    again, log = read(durable, under)
    assert not log.facts
    return again, log


def differences(
    found: Sequence[Sample], expected: Sequence[Sample], wanted: Callable[[Sample], bool]
) -> dict[Any, Any]:
    return differing(*(by_key([s for s in some if wanted(s)]) for some in (found, expected)))


@FUZZ
@given(some(FORMER), some(LATER), streams(), streams(), st.integers(1, 8))
def test_windows_that_are_kept_hold_everything_and_those_that_start_empty_nothing(
    former: tuple[Window, ...],
    later: tuple[Window, ...],
    first: list[bytes],
    second: list[bytes],
    step: int,
) -> None:
    before, after = Settings(windows=former), Settings(windows=later)
    durable: Log = {}
    shard = new_shard(before)
    log = StateLog(shard)
    write(shard, log, durable, first, step)
    if not durable:
        return
    begin = max(shard.progress.now, *shard.progress.clocks.values()) + 1
    truth = new_shard(after)
    starts = truth.tally.next_start(begin)
    truth.windows.start_at(
        {label: starts for label, source in sources(former, later, {}).items() if source is None}
    )
    write(truth, StateLog(truth), {}, first, step)
    shard, log = reread(durable, after)
    is_exact = None not in sources(former, later, {}).values()

    def wanted(sample: Sample) -> bool:
        return is_exact or sample.kpi not in ACTIVE

    at = shard.progress.now
    assert not differences(samples(after, [shard], at), samples(after, [truth], at), wanted)
    second = [r.replace(b'"e', b'"f') for r in second]
    write(shard, log, durable, second, step)
    write(truth, StateLog(truth), {}, second, step)
    at = shard.progress.now
    assert not differences(samples(after, [shard], at), samples(after, [truth], at), wanted)
    again, _ = read(durable, after)
    assert not differences(samples(after, [again], at), samples(after, [truth], at), wanted)


@FUZZ
@given(
    st.sampled_from([("channel",), ("region",), ("region", "channel"), ()]),
    streams(),
    streams(),
    st.integers(1, 8),
)
def test_dimensions_that_are_removed_or_reordered_leave_all_other_series_as_they_were(
    dimensions: tuple[str, ...], first: list[bytes], second: list[bytes], step: int
) -> None:
    rollups = ((), *((d,) for d in dimensions))
    after = Settings(dimensions=dimensions, rollups=rollups)
    durable: Log = {}
    shard = new_shard(Settings())
    write(shard, StateLog(shard), durable, first, step)
    if not durable:
        return
    second = [r.replace(b'"e', b'"f') for r in second]
    truth = new_shard(after)
    write(truth, StateLog(truth), {}, [*first, *second], step)
    shard, log = reread(durable, after)
    write(shard, log, durable, second, step)
    at = shard.progress.now
    expected = samples(after, [truth], at)
    assert not differences(samples(after, [shard], at), expected, lambda s: True)
    again, _ = read(durable, after)
    assert not differences(samples(after, [again], at), expected, lambda s: True)


@FUZZ
@given(streams(), streams(), st.integers(1, 8))
def test_a_dimension_that_is_added_leaves_the_other_series_and_begins_with_none_of_its_own(
    first: list[bytes], second: list[bytes], step: int
) -> None:
    before = Settings(dimensions=("channel",), rollups=((), ("channel",)))
    after = Settings(dimensions=("region", "channel"), rollups=((), ("channel",), ("region",)))
    durable: Log = {}
    shard = new_shard(before)
    write(shard, StateLog(shard), durable, first, step)
    if not durable:
        return
    at = shard.progress.now
    shard, log = reread(durable, after)
    truth = new_shard(after)
    write(truth, StateLog(truth), {}, first, step)
    found, expected = samples(after, [shard], at), samples(after, [truth], at)

    def is_new(sample: Sample) -> bool:
        return "region" in dict(sample.labels)

    assert not differences(found, expected, lambda s: not is_new(s))
    assert {s.kpi for s in found if is_new(s)} <= {"churn", "retention"}
    active, known = (
        {(s.window, s.labels): s.denominator for s in some if s.kpi == "churn" and s.denominator}
        for some in (found, expected)
    )
    assert active == known
    assert not [s for s in found if is_new(s) and s.kpi == "churn" and s.numerator]
    second = [r.replace(b'"e', b'"f') for r in second]
    write(shard, log, durable, second, step)
    write(truth, StateLog(truth), {}, second, step)
    at = shard.progress.now
    found, expected = samples(after, [shard], at), samples(after, [truth], at)
    assert not differences(found, expected, lambda s: not is_new(s))


def cart(kind: str, at: int, cart_id: str = "c") -> bytes:
    event = {"type": f"cart.{kind}", "event_id": f"{cart_id}{kind}{at}", "cart_id": cart_id}
    return json.dumps({**event, "occurred_at": text(at)}).encode()


def carts(shard: Shard, at: int) -> tuple[float | None, float | None]:
    found = {s.kpi: s for s in samples(shard.settings, [shard], at) if s.window == "24h"}
    sample = found.get("cart_abandonment")
    return (sample.numerator, sample.denominator) if sample else (0.0, 0.0)


def with_timeouts(first: list[bytes], until: int, timeout_ms: int) -> Shard:
    """A shard that was written with a time-out of 30 min and is read with another."""
    durable: Log = {}
    shard = new_shard(Settings())
    shard.ingest(None, first)
    shard.advance(until)
    store(durable, StateLog(shard), until)
    return reread(durable, Settings(cart_timeout_ms=timeout_ms))[0]


def test_open_carts_get_the_new_deadline() -> None:
    shard = with_timeouts([cart("opened", NOON)], NOON + 20 * MINUTE, 25 * MINUTE)
    assert carts(shard, NOON + 25 * MINUTE - 1) == (0, 0)
    assert carts(shard, NOON + 25 * MINUTE) == (1, 1)
    shard = with_timeouts([cart("opened", NOON)], NOON + 20 * MINUTE, 2 * HOUR)
    assert carts(shard, NOON + HOUR) == (0, 0)
    assert carts(shard, NOON + 2 * HOUR) == (1, 1)


def test_a_cart_that_was_counted_stays_so_until_an_event_says_otherwise() -> None:
    shard = with_timeouts([cart("opened", NOON)], NOON + 40 * MINUTE, 2 * HOUR)
    assert carts(shard, NOON + 50 * MINUTE) == (1, 1)
    shard.ingest(None, [cart("purchased", NOON + HOUR)])
    assert carts(shard, NOON + HOUR) == (0, 1)
    shard = with_timeouts(
        [cart("opened", NOON), cart("purchased", NOON + 20 * MINUTE)], NOON + HOUR, 10 * MINUTE
    )
    assert carts(shard, NOON + HOUR) == (0, 1)
    shard.ingest(None, [cart("updated", NOON + MINUTE)])
    assert carts(shard, NOON + HOUR) == (1, 1)


def test_a_pause_that_a_longer_time_out_bears_ends_no_cart() -> None:
    used = [cart("opened", NOON), cart("updated", NOON + HOUR)]
    for timeout_ms, abandoned in ((2 * HOUR, 0), (30 * MINUTE, 1)):
        shard = with_timeouts(used, NOON + HOUR, timeout_ms)
        assert carts(shard, NOON + HOUR) == (1, 1)
        shard.ingest(None, [cart("purchased", NOON + 150 * MINUTE)])
        assert carts(shard, NOON + 150 * MINUTE) == (abandoned, 1)


def test_a_reopening_of_what_a_new_window_never_counted_takes_nothing_from_it() -> None:
    closed = {
        "type": "ticket.closed",
        "event_id": "1",
        "ticket_id": "t",
        "opened_at": text(NOON - 1),
        "occurred_at": text(NOON),
    }
    reopened = {"type": "ticket.reopened", "event_id": "2", "ticket_id": "t"}
    durable: Log = {}
    shard = new_shard(Settings(windows=(WEEK,)))
    shard.ingest(None, [json.dumps(closed).encode()])
    store(durable, StateLog(shard), NOON)
    shard, _ = reread(durable, Settings(windows=(WEEK, Window("1h", HOUR, MINUTE))))
    event = {**reopened, "occurred_at": text(NOON + MINUTE)}
    shard.ingest(None, [json.dumps(event).encode()])
    resolved = {s.window: s.denominator for s in samples(shard.settings, [shard], NOON + MINUTE)}
    assert resolved == {}


HOURS = Window("24h", DAY, HOUR)


def ticket(kind: str, at: int) -> bytes:
    event = {"type": f"ticket.{kind}", "event_id": str(at), "ticket_id": "t"}
    opened = {"opened_at": text(at - 1)} if kind == "closed" else {}
    return json.dumps({**event, **opened, "occurred_at": text(at)}).encode()


@pytest.mark.parametrize(
    ("former", "second", "third"),
    [
        pytest.param(
            (HOURS,),
            (HOURS, Window("2d", 2 * DAY, HOUR)),
            (Window("5m", 5 * MINUTE, 5 * SECOND), HOURS, Window("2d", 2 * DAY, HOUR)),
            id="finer",
        ),
        pytest.param((WEEK,), (WEEK, Window("24h", DAY, MINUTE)), (WEEK, HOURS), id="coarser"),
    ],
)
def test_what_a_window_counts_from_its_start_on_does_not_depend_on_the_others_panes(
    former: tuple[Window, ...], second: tuple[Window, ...], third: tuple[Window, ...]
) -> None:
    durable: Log = {}
    shard = new_shard(Settings(windows=former))
    write(shard, StateLog(shard), durable, [ticket("closed", NOON + MINUTE + 1)], 1)
    new = second[-1].label
    shard, log = reread(durable, Settings(windows=second))
    close = NOON + 20 * MINUTE
    write(shard, log, durable, [ticket("closed", close)], 1)
    counted = {s.window: s.denominator for s in samples(shard.settings, [shard], close)}
    assert counted[new] == 1
    shard, log = reread(durable, Settings(windows=third))
    for again in range(2):
        at = NOON + (40 + again) * MINUTE
        write(shard, log, durable, [ticket("reopened", at)] if not again else [], 1)
        assert not [s for s in samples(shard.settings, [shard], at) if s.window == new]
        shard, log = read(durable, shard.settings)


def test_a_window_that_began_within_a_unit_of_time_goes_on_as_earlier_versions_counted_it() -> None:
    after = Settings(windows=(WEEK, Window("14d", 14 * DAY, HOUR)))
    shard = new_shard(after)
    shard.windows.start_at({"14d": NOON + HOUR})
    durable: Log = {}
    write(shard, StateLog(shard), durable, [ticket("closed", NOON + 2 * HOUR)], 1)
    number, version, since, _, shape, _ = unpack(b"header", durable[b"header"])
    durable[b"header"] = pack([8, version, since, {"14d": NOON + 1}, shape])
    shard, _ = read(durable, after)
    assert number > 8
    assert shard.windows.starts == {"14d": NOON + HOUR}
    assert shard.tally.unit_ms == HOUR


def test_a_window_is_filled_from_the_one_that_goes_furthest_back() -> None:
    day, younger = Window("24h", DAY, 10 * MINUTE), Window("12h", 12 * HOUR, 5 * MINUTE)
    durable: Log = {}
    shard = new_shard(Settings(windows=(day, WEEK)))
    write(shard, StateLog(shard), durable, [cart("purchased", NOON, "a")], 1)
    shard, log = reread(durable, Settings(windows=(younger, day, WEEK)))
    write(shard, log, durable, [cart("purchased", NOON + HOUR, "b")], 1)
    six = Window("6h", 6 * HOUR, 10 * MINUTE)
    shard, log = reread(durable, Settings(windows=(six, younger, day, WEEK)))
    counted = {s.window: s.denominator for s in samples(shard.settings, [shard], NOON + HOUR)}
    assert counted == {"6h": 2, "12h": 1, "24h": 2, "7d": 2}
    assert shard.windows.starts.keys() == {"12h"}


def test_a_state_of_a_window_that_is_no_more_leaves_no_block_of_it_in_the_log() -> None:
    durable: Log = {}
    shard = new_shard(Settings())
    shard.ingest(None, [cart("purchased", NOON)])
    store(durable, StateLog(shard), NOON)
    assert [k for k in durable if k.startswith(b"block/panes:24h")]
    reread(durable, Settings(windows=(WEEK,)))
    assert [k for k in durable if k.startswith(b"block/panes:")] == [
        b"block/panes:7d/%d" % (NOON // HOUR)
    ]


def test_a_worker_that_dies_before_it_wrote_the_change_makes_it_again() -> None:
    durable: Log = {}
    shard = new_shard(Settings())
    shard.ingest(None, [cart("purchased", NOON)])
    store(durable, StateLog(shard), NOON)
    after = Settings(windows=(Window("24h", DAY, 20 * MINUTE),))
    read(durable, after)
    shard, _ = reread(durable, after)
    assert carts(shard, NOON) == (0, 1)


def test_the_settings_of_a_state_come_back_from_its_header() -> None:
    own = Settings(
        dimensions=("plan",),
        rollups=((), ("plan",)),
        windows=(WEEK,),
        dedupe_ms=1,
        max_segments=5,
        max_remembered=6,
        cart_timeout_ms=7,
        positive_emotions=frozenset({"b", "a"}),
        health_weights={"usage": 2.0},
    )
    assert Shape.of(own).settings() == own
    assert facts(Shape.of(own), own, {}) == ()


def unmarked(durable: Log) -> Log:
    """As formats up to 6 were written: deltas did not say which blocks there are."""
    return {
        key: pack(unpack(key, value)[:4]) if key.startswith(b"delta/") else value
        for key, value in durable.items()
    }


def test_windows_in_another_order_hold_the_same_whatever_was_not_in_a_block_yet() -> None:
    """Deltas say which window a fact is of by its place."""
    windows = (Window("1h", HOUR, MINUTE), Window("24h", DAY, HOUR))
    before = Settings(dimensions=(), rollups=((),), windows=windows)
    after = replace(before, windows=windows[::-1])
    shard = new_shard(before)
    log = StateLog(shard)
    durable: Log = {}
    row = shard.segments.row(NO_LABELS, None, NOON)
    for window, n in zip(windows, (3, 5), strict=True):
        shard.tally.add_in_pane(window, NOON // window.pane_ms, row, (0, 1), n)
    shard.progress.now = NOON
    store(durable, log, NOON)
    durable = {
        key: value for key, value in unmarked(durable).items() if not key.startswith(b"block/panes")
    }

    def counted(shard: Shard) -> dict[str, list[int]]:
        return {
            w.label: shard.windows.pane(w.label, NOON // w.pane_ms)[1].tolist() for w in windows
        }

    assert counted(shard) == counted(read(durable, before)[0]) == {"1h": [3], "24h": [5]}
    assert facts(Shape.of(before), after, {}) == ()
    assert counted(read(durable, after)[0]) == {"1h": [3], "24h": [5]}
    assert counted(reread(durable, after)[0]) == {"1h": [3], "24h": [5]}


def test_what_is_dropped_is_told_in_the_order_in_which_it_was_configured() -> None:
    sizes = (HOUR, DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY, 6 * DAY)
    former = Settings(windows=tuple(Window(f"w{ms}", ms, HOUR) for ms in sizes))
    told = facts(Shape.of(former), replace(former, windows=(WEEK,)), {})
    dropped = [fact.what for fact in told if fact.becomes == "dropped"]
    assert dropped == [f"window w{ms}" for ms in sizes]


def test_sets_of_labels_that_found_no_room_are_joined_where_they_mean_the_same_now() -> None:
    before = Settings(dimensions=("channel", "region"), windows=(WEEK,))
    after = replace(before, dimensions=("channel",), rollups=((),))
    migration = Migration(before, after, {}, lambda s: s)
    eu, us = ("web", "eu", None), ("web", "us", None)
    blocks = {
        repr(eu).encode().hex(): [repr(eu).encode(), eu, 7, [(1, 2)], []],
        repr(us).encode().hex(): [repr(us).encode(), us, 5, [(1, 3), (2, 1)], []],
    }
    (migrated,) = migration.migrated("active", blocks).values()
    home = ("web", None)
    assert migrated[:3] == [repr(home).encode(), home, 7]
    assert sorted(migrated[3]) == [(1, 2), (1, 3), (2, 1)]


@pytest.mark.parametrize("order", [1, -1])
def test_of_too_many_values_of_a_new_dimension_those_used_last_have_places(order: int) -> None:
    before = Settings(dimensions=(), rollups=((),), windows=(WEEK,))
    after = replace(before, dimensions=("plan",), max_values_per_dimension=2)
    keys = {plan: json.dumps({"plan": plan}).encode() for plan in ("gold", "pro", "free", "trial")}
    told: list[Any] = [[key, (None,), n, [], []] for n, key in enumerate(keys.values())]
    blocks = {block[0].hex(): block for block in told[::order]}
    places: list[str | None] = []

    def fold(segment: Segment) -> Segment:
        if segment[0] not in places and len(places) < after.max_values_per_dimension:
            places.append(segment[0])
        return segment if segment[0] in places else (OTHER, None)

    migrated = Migration(before, after, {}, fold).migrated("active", blocks)
    homes = {plan: migrated[key.hex()][1][0] for plan, key in keys.items()}
    assert homes == {"gold": OTHER, "pro": OTHER, "free": "free", "trial": "trial"}


LONG = "n" * 5_000


def subscribed(number: int, given: dict[str, str]) -> bytes:
    fields = {"type": "subscription.started", "subscription_id": f"s{number}", "labels": given}
    return json.dumps({"event_id": f"e{number}", "occurred_at": text(NOON), **fields}).encode()


def test_sets_of_labels_that_had_keys_of_any_length_go_on_under_their_digests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As earlier versions wrote them: some in blocks, some in deltas that no block covers yet."""
    core = Settings(dimensions=("channel",), rollups=((), ("channel",)))
    durable: Log = {}
    with monkeypatch.context() as earlier:
        earlier.setattr(labels, "bounded", lambda key: key)
        shard = new_shard(core)
        log = StateLog(shard)
        write(shard, log, durable, [subscribed(1, {LONG: "x"}), subscribed(2, {"a": "x"})], 1)
        in_blocks = {key for key in durable if key.startswith(b"block/active:")}
        write(shard, log, durable, [subscribed(3, {LONG: "x"}), subscribed(4, {LONG: "y"})], 1)
        late = [key for key in durable if key.startswith(b"block/active:") and key not in in_blocks]
        for key in late:
            del durable[key]
        durable.update(unmarked(durable))
    assert max(map(len, in_blocks)) > 2 * len(LONG)
    assert late
    totals = sorted(found.net.total for found in shard.active.sets.values())
    gc.collect()
    again, log = reread(durable, core)
    assert max(map(len, durable)) < 200
    assert not log.facts
    assert sorted(found.net.total for found in again.active.sets.values()) == totals == [1, 1, 2]
    # What comes now adds to them.
    write(again, log, durable, [subscribed(5, {LONG: "y"})], 1)
    third, _ = read(durable, core)
    assert sorted(found.net.total for found in third.active.sets.values()) == [1, 2, 2]
    assert third.active.sets.keys() == again.active.sets.keys()


def test_an_added_dimension_knows_labels_too_long_for_a_key_from_their_next_event_on() -> None:
    before = Settings(dimensions=("channel",), rollups=((), ("channel",)))
    after = replace(before, dimensions=("channel", "plan"))
    shard = new_shard(before)
    log = StateLog(shard)
    durable: Log = {}
    sets = ({"channel": "web", "plan": "gold", LONG: "x"}, {"channel": "web", "plan": "gold"})
    write(shard, log, durable, [subscribed(n, given) for n, given in enumerate(sets)], 1)
    again, log = reread(durable, after)
    segments = {found.segment for found in again.active.sets.values()}
    assert segments == {("web", None, None), ("web", "gold", None)}
    write(again, log, durable, [subscribed(9, sets[0])], 1)
    counted = [(found.segment, found.net.total) for found in again.active.sets.values()]
    assert sorted(counted) == [(("web", "gold", None), 1), (("web", "gold", None), 2)]
