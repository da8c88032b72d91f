"""Up to when a worker has read all that there was: what alerts may be decided by.

A position at the end says little by itself: records may have been appended since the broker was
asked. What a fetch's answer knows of is all that was there when the fetch was sent, up to the first
transaction that is still open: what is in it, or behind it, may be read once it has ended. To wait
for that would leave out every evaluation where a producer always has one open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from stream.clock import now_ms


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
                    self.caught_up[tp] = CaughtUp(state.position, at)

    def begin_anew(self, tp: TopicPartition) -> None:
        """Forget up to where a partition was read: it goes on elsewhere."""
        self.caught_up.pop(tp, None)
