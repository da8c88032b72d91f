"""Up to when a worker has read all that there was: what alerts may be decided by.

A position at the end says little by itself: records may have been appended since the broker was
asked. What a fetch's answer knows of is all that was there when the fetch was sent: up to the high
watermark, for what stands behind a transaction that is still open is there too, and comes once that
has ended. So what is remembered of each answer is up to where one has to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from stream.clock import now_ms

#: How far apart answers are that are remembered while one does not come to the end, in ms, and how
#: many these are: half a minute's. Beyond that the oldest are what is waited for.
_APART_MS: Final = 200
_MOST_REMEMBERED: Final = 150


@dataclass(slots=True)
class CaughtUp:
    """Up to which position a partition was read, and when the broker had nothing beyond it (ms)."""

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
        #: What has to be reached, oldest first.
        self._ahead: dict[TopicPartition, deque[CaughtUp]] = {}

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
            end = self.ends[tp] = state.highwater
            at = self._asked_at.get(tp)
            if at is None:
                continue
            ahead = self._ahead.setdefault(tp, deque())
            if not ahead or (at - ahead[-1].at >= _APART_MS and len(ahead) < _MOST_REMEMBERED):
                ahead.append(CaughtUp(end, at))
            if tp in fetcher._records:  # noqa: SLF001
                continue
            if state.position >= end:
                ahead.clear()
                self.caught_up[tp] = CaughtUp(state.position, at)
            while ahead and ahead[0].position <= state.position:
                self.caught_up[tp] = ahead.popleft()

    def begin_anew(self, tp: TopicPartition) -> None:
        """Forget up to where a partition was read: it goes on elsewhere."""
        self.caught_up.pop(tp, None)
        self._ahead.pop(tp, None)
