"""From the alert topic to a sink: in order, tried again with growing waits, given up in the end.

Each sink has a dispatcher of its own, in a task of its own: a sink that fails or hangs holds up
neither the other sinks nor the events. A change is acknowledged once it was delivered or given up,
so a worker that dies in between leaves it for the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from stream.core.alerts import Change
from stream.sinks.sink import Refused, Retry, Sink, SinkError

#: What became of a delivery: ``retried`` counts every further try, ``dropped`` what was given up.
Result = Literal["sent", "retried", "dropped"]
#: Changes that go to the sinks.
TOLD: Final = frozenset({"firing", "resolved"})
#: The longest that a receiver's ``Retry-After`` is waited for, in seconds.
MOST_PATIENCE: Final = 300.0

log = logging.getLogger(__name__)


class Delivery(NamedTuple):
    """A record of the alert topic, and what to call once it needs no more attention."""

    value: bytes
    acknowledge: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries, in seconds: random, up to a bound that doubles from first to longest."""

    first: float = 0.5
    longest: float = 60.0


class Dispatcher:
    """Delivers the changes of the alert topic to one sink.

    ``results`` counts what became of them. ``retry_for_ms`` bounds how long one change is tried.
    """

    def __init__(
        self, name: str, sink: Sink, retry_for_ms: int, backoff: Backoff = Backoff()
    ) -> None:
        self.name = name
        self.results: Counter[Result] = Counter()
        self._sink = sink
        self._jitter = wait_random_exponential(multiplier=backoff.first, max=backoff.longest)
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_may_work_later),
            wait=self._wait,
            stop=stop_before_delay(retry_for_ms / 1_000),
            before_sleep=self._note_retry,
            sleep=asyncio.sleep,
            reraise=True,
        )

    async def run(self, deliveries: AsyncIterator[Delivery]) -> None:
        """Deliver until ``deliveries`` end or the task is cancelled, then close the sink.

        What reading or acknowledging raises is passed on; nothing that the sink raises is.
        """
        try:
            async for value, acknowledge in deliveries:
                await self._handle(value)
                await acknowledge()
        finally:
            await self._sink.close()

    async def _handle(self, value: bytes) -> None:
        try:
            change = msgspec.json.decode(value, type=Change)
        except msgspec.MsgspecError as error:
            # Any producer may write to a topic; what is no change can't be told to anyone.
            self._drop("a record of the alert topic", str(error))
            return
        if change.to not in TOLD:
            return
        try:
            await self._retrying(self._sink.deliver, change)
        except Exception as error:  # noqa: BLE001 - no sink may end the task that feeds it
            self._drop(f"{change.rule} {change.to} ({change.id})", reason(error))
        else:
            self.results["sent"] += 1

    def _drop(self, what: str, reason: str) -> None:
        self.results["dropped"] += 1
        log.error("sink %s: gave up %s: %s", self.name, what, reason)

    def _wait(self, state: RetryCallState) -> float:
        """A random wait, or what the receiver asked for where that is longer."""
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.after if isinstance(error, Retry) and error.after is not None else 0.0
        return max(self._jitter(state), min(asked, MOST_PATIENCE))

    def _note_retry(self, state: RetryCallState) -> None:
        self.results["retried"] += 1
        error = state.outcome.exception() if state.outcome is not None else None
        # A receiver that is down for an hour is worth one line, not hundreds.
        level = logging.WARNING if state.attempt_number == 1 else logging.DEBUG
        log.log(level, "sink %s: %s, trying again", self.name, reason(error))


def _may_work_later(error: BaseException) -> bool:
    """Everything but a refusal; a cancelled task is no failure."""
    return isinstance(error, Exception) and not isinstance(error, Refused)


def reason(error: BaseException | None) -> str:
    """Why, without the words of foreign exceptions, which may hold addresses and secrets."""
    return str(error) if isinstance(error, SinkError) else type(error).__name__
