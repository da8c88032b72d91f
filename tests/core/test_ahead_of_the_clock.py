"""What is ahead of the clock counts from when its pane begins, and not before."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator
from stream.core.settings import DAY, SECOND, Settings, Window
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.reference.streams import NOON, text

WINDOWS = (
    Window("5s", 5_000, 5_000),
    Window("10s", 10_000, 1_000),
    Window("1m", 60_000, 20_000),
    Window("5m", 300_000, 5_000),
    Window("1h", 3_600_000, 60_000),
    Window("30d", 30 * 86_400_000, 21_600_000),
)
CORE = Settings(windows=WINDOWS)
#: Windows of a state to which the others are added: only the longest, or all others.
FORMER = (WINDOWS[-1:], WINDOWS[:-1])
TOPIC = "cx.subscription"

#: (ms before or after noon of the start, of the end after the clock)
lives = st.tuples(
    st.integers(-30 * 86_400, 60).map(lambda s: s * SECOND)
    | st.integers(-400_000, 60_000)
    | st.integers(-12, 12).map(lambda panes: panes * 5_000),
    st.integers(-60_000, 60_000) | st.integers(0, 12).map(lambda panes: panes * 5_000),
)


def cancelled(number: int, start: int, end: int) -> bytes:
    fields = {"type": "subscription.cancelled", "subscription_id": f"s{number}"}
    times = {"occurred_at": text(end), "started_at": text(start)}
    return json.dumps({"event_id": f"e{number}", **fields, **times}).encode()


def keep(durable: dict[bytes, bytes], log: StateLog, at: int) -> None:
    """Write a flush as a compacted topic keeps it."""
    for key, value in log.flush(at):
        durable.pop(key, None)
        if value is not None:
            durable[key] = value


def written_with(windows: tuple[Window, ...], at: int) -> dict[bytes, bytes]:
    """A state of other windows, flushed at a time."""
    before = replace(CORE, windows=windows)
    shard = Shard(before, Values(before))
    durable: dict[bytes, bytes] = {}
    assert not shard.ingest(TOPIC, [cancelled(99, at - 40 * DAY, at - 35 * DAY)], at)
    keep(durable, StateLog(shard), at)
    return durable


def new_and_cancelled(shard: Shard, window: Window, at: int) -> float:
    shard.advance(at)
    shard.fold(at)
    found = Evaluator(CORE).inputs([shard.share()], at, window, (), KPIS["retention"])
    return sum(one.columns["cancelled_since"] for one in found)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0, 1, 4_999, 19_000, 59_999]),
    st.lists(lives, min_size=1, max_size=4),
    st.booleans(),
    st.none() | st.tuples(st.sampled_from(FORMER), st.sampled_from([0, 1, 30_000, 240_000])),
    st.booleans(),
)
@example(4_999, [(-1_000, 1)], True, None, True)
@example(0, [(-1, 60_000), (-250_000, 60_000), (1_000, 59_000)], False, None, True)
@example(19_000, [(-1_000, 20_000), (-240_000, 4_000)], True, (WINDOWS[-1:], 0), True)
@example(19_000, [(-DAY, -1_000), (-DAY, -1_000), (-DAY, -1)], False, (WINDOWS[:-1], 30_000), True)
def test_who_came_and_left_counts_once_both_panes_have_begun(
    into: int,
    ones: list[tuple[int, int]],
    is_restarted: bool,
    added: tuple[tuple[Window, ...], int] | None,
    columns: bool,
) -> None:
    now = NOON + into
    spans = [(NOON + start, now + end) for start, end in ones if NOON + start <= now + end]
    shard = Shard(CORE, Values(CORE), columns=columns)
    log = StateLog(shard)
    durable: dict[bytes, bytes] = {}
    if added:
        durable = written_with(added[0], now - added[1])
        log.recover(durable)
    records = [cancelled(number, *span) for number, span in enumerate(spans)]
    for some in (records[:1], records[1:]):
        # Only labels that are known already come in columns.
        assert not shard.ingest(TOPIC, some, now)
    if is_restarted:
        keep(durable, log, now)
        shard = Shard(CORE, Values(CORE))
        StateLog(shard).recover(durable)
    begins = shard.windows.starts
    assert begins.keys() == ({w.label for w in WINDOWS if w not in added[0]} if added else set())
    for later in (0, 1_000, 4_000, 19_000, 40_000, 60_000, 61_000, 90_000, 299_000, 3_599_000):
        at = now + later
        for window in WINDOWS:
            first, last = window.first_pane(at), at // window.pane_ms
            inside = [
                all(first <= time // window.pane_ms <= last for time in span)
                for span in spans
                if span[1] >= begins.get(window.label, 0)
            ]
            assert new_and_cancelled(shard, window, at) == sum(inside), (window, later)
