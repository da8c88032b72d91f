"""What is ahead of the clock counts from when its pane begins, and not before."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator
from stream.core.settings import SECOND, Settings, Window
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
)
@example(4_999, [(-1_000, 1)], True)
@example(0, [(-1, 60_000), (-250_000, 60_000), (1_000, 59_000)], False)
def test_who_came_and_left_counts_once_both_panes_have_begun(
    into: int, ones: list[tuple[int, int]], is_restarted: bool
) -> None:
    now = NOON + into
    spans = [(NOON + start, now + end) for start, end in ones if NOON + start <= now + end]
    shard = Shard(CORE, Values(CORE))
    records = [cancelled(number, *span) for number, span in enumerate(spans)]
    assert not shard.ingest(TOPIC, records, now)
    if is_restarted:
        log = StateLog(shard).flush(now)
        shard = Shard(CORE, Values(CORE))
        StateLog(shard).recover({key: value for key, value in log if value is not None})
    for later in (0, 1_000, 4_000, 19_000, 40_000, 60_000, 61_000, 90_000, 299_000, 3_599_000):
        at = now + later
        for window in WINDOWS:
            first, last = window.first_pane(at), at // window.pane_ms
            inside = [
                all(first <= time // window.pane_ms <= last for time in span) for span in spans
            ]
            assert new_and_cancelled(shard, window, at) == sum(inside), (window, later)
