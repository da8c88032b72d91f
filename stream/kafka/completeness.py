"""Up to when a worker has read all that there was: what alerts may be decided by.

A position at the end says little by itself: records may have been appended since the broker was
asked. What a fetch's answer knows of is all that was there when the fetch was sent, up to the first
transaction that is still open: what is in it, or behind it, may be read once it has ended. That is
waited for where it is not for long. Always to wait would leave out every evaluation where a
producer has one open at any time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from stream.clock import now_ms
from stream.core.settings import SECOND

#: So long an open transaction is waited for (ms): most are shorter, and rules that are evaluated so
#: much later are still evaluated in time.
HELD_MS: Final = 2 * SECOND


@dataclass(slots=True)
class CaughtUp:
    """Up to which position a partition was read, and when the broker had nothing beyond it (ms).

    Records that an open transaction holds up count as there from ``HELD_MS`` later on only.
    """

    position: int
    at: int


def standing(fetcher: Any, tp: TopicPartition) -> Any:
    """The client's state of a partition that it reads; None where it has no position now."""
    subscription = fetcher._subscriptions.subscription  # noqa: SLF001
    if subscription is None or subscription.assignment is None:
        return None
    state = subscription.assignment.state_value(tp)
    return state if state is not None and state.has_valid_position else None


class Completeness:
    """Watches a client's fetches. Other threads may read; entries are replaced, never changed."""

    def __init__(self) -> None:
        self.caught_up: dict[TopicPartition, CaughtUp] = {}
        #: Up to where the partitions hold records, also those that may not be read yet.
        self.ends: dict[TopicPartition, int] = {}
        #: When the fetch was sent whose answer was taken in last (ms).
        self._asked_at: dict[TopicPartition, int] = {}
        #: Where partitions ended when fetches were sent (ms), while a transaction is open.
        self._held: dict[TopicPartition, deque[tuple[int, int]]] = {}

    def watch(self, fetcher: Any) -> None:
        """Note when fetches are sent: their answers know all that was there then, not later."""
        fetch = fetcher._proc_fetch_request  # noqa: SLF001

        async def watched(assignment: Any, node_id: Any, request: Any) -> bool:
            at = now_ms()
            fetched = bool(await fetch(assignment, node_id, request))
            for topic, partitions in request.topics:
                for partition, *_ in partitions:
                    tp = TopicPartition(topic, partition)
                    state = assignment.state_value(tp)
                    if state is not None and state.timestamp is not None and state.timestamp >= at:
                        self._asked_at[tp] = at
            return fetched

        fetcher._proc_fetch_request = watched  # noqa: SLF001

    def note(self, fetcher: Any, live: Iterable[TopicPartition]) -> None:
        """Note where the live partitions stand, once all that was fetched of them is taken."""
        for tp in live:
            state = standing(fetcher, tp)
            if state is None or state.timestamp is None:
                continue
            self.ends[tp] = state.highwater
            end = state.highwater if state.lso is None or state.lso < 0 else state.lso
            if tp not in fetcher._records and state.position >= end:  # noqa: SLF001
                at = self._asked_at.get(tp)
                if at is not None:
                    whole = self._whole_at(tp, at, state)
                    self.caught_up[tp] = CaughtUp(state.position, whole)

    def _whole_at(self, tp: TopicPartition, at: int, state: Any) -> int:
        """When nothing was there that is not read yet, save for what was held up for long."""
        former = self.caught_up.get(tp)
        # What was noted before the clock was set back says nothing of the times since.
        whole = former.at if former is not None and former.at <= at else 0
        held = self._held.setdefault(tp, deque())
        if held and held[-1][0] > at:
            held.clear()
        if not held or held[-1] != (at, state.highwater):
            # The same answer is looked at again and again while no other comes.
            held.append((at, state.highwater))
        while held and (held[0][1] <= state.position or held[0][0] <= at - HELD_MS):
            asked_at, end = held.popleft()
            if end <= state.position:
                whole = max(whole, asked_at)
        return max(whole, at - HELD_MS)

    def begin_anew(self, tp: TopicPartition) -> None:
        """Forget up to where a partition was read: it goes on elsewhere."""
        self.caught_up.pop(tp, None)
        self._held.pop(tp, None)
