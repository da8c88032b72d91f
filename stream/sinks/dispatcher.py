"""From the alert topic to a sink: in order per alert, tried again with growing waits, never lost.

Each sink has a dispatcher of its own, in a task of its own: a sink that fails or hangs holds up
neither the other sinks nor the events. Within a sink each alert has a lane of its own: one whose
delivery fails holds up only itself. A change is acknowledged once it was delivered or is a dead
letter, so a worker that dies in between leaves it for the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple, get_args

import msgspec
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from stream.core.alerts import Change
from stream.core.errors import UNREADABLE
from stream.core.event import Refused
from stream.core.settings import SECOND
from stream.core.text import printable
from stream.core.timestamps import parse
from stream.sinks.causes import cause
from stream.sinks.lanes import Lanes
from stream.sinks.sink import Refreshed, Rejected, Retry, Sink, SinkError

#: What became of a delivery: ``retried`` counts every further try, ``dropped`` what became a dead
#: letter. ``unread`` counts tries to read changes that failed, ``refreshed`` and ``unrefreshed``
#: rounds of telling again what fires.
Result = Literal["sent", "retried", "dropped", "unread", "refreshed", "unrefreshed"]
#: Changes that go to the sinks.
TOLD: Final = frozenset({"firing", "resolved"})
#: The longest that a receiver's ``Retry-After`` is waited for, in seconds.
MOST_PATIENCE: Final = 300.0
#: So long before a delivery is given up, in seconds, it is tried a last time.
_LAST_TRY_SECONDS: Final = 0.5
#: So many changes may be read and not acknowledged: those that fail, and what waits behind them.
MOST_UNDERWAY: Final = 1_000
#: So long, in seconds, an end that was told is kept in mind at least. What fires may have been read
#: before then, also where it does not have the alert: before that began.
_ENDS_KEPT_SECONDS: Final = 7_200.0
#: So many deliveries are made at a time.
MOST_AT_ONCE: Final = 8

log = logging.getLogger(__name__)


class _End(NamedTuple):
    """An end that was told: its time in ms, and the loop's time up to which it is kept in mind."""

    at: int
    kept_until: float


class Delivery(NamedTuple):
    """A record of the alert topic, and what to call once it needs no more attention.

    ``bury`` makes a dead letter of it, with the reason; it is still to be acknowledged then.
    ``our_turn`` is awaited before each try: nobody else delivers meanwhile.
    """

    value: bytes
    acknowledge: Callable[[], Awaitable[None]]
    bury: Callable[[str], Awaitable[None]]
    our_turn: Callable[[], Awaitable[None]]


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
        self._retry_for = retry_for_ms / SECOND
        self._patience = min(MOST_PATIENCE, self._retry_for)
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        #: The loop's time up to which the receiver has asked to be left alone.
        self._quiet_until = 0.0
        #: Whether the latest try failed: the first failure of a row is worth a line.
        self._is_failing = False
        #: The latest end that was told of alerts, by their keys.
        self._ended: dict[bytes, _End] = {}
        self._jitter = wait_random_exponential(multiplier=backoff.first, max=backoff.longest)
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(_may_work_later),
            wait=self._wait,
            stop=stop_before_delay(self._retry_for),
            before_sleep=self._note_retry,
            sleep=asyncio.sleep,
            reraise=True,
        )

    @property
    def refresh_seconds(self) -> float | None:
        """How often to call ``refresh``; None for a sink that needs none."""
        return self._sink.refresh_ms / SECOND if isinstance(self._sink, Refreshed) else None

    def counts(self) -> dict[Result, int]:
        """What became of deliveries up to now; a sink that forgets nothing is not refreshed."""
        refreshes = {"refreshed", "unrefreshed"} if self.refresh_seconds is None else set()
        return {r: self.results[r] for r in get_args(Result) if r not in refreshes}

    async def run(self, deliveries: AsyncIterator[Delivery]) -> None:
        """Deliver until ``deliveries`` end or the task is cancelled, then close the sink.

        What reading, acknowledging or burying raises is passed on, in a group; nothing that the
        sink raises is.
        """
        try:
            async with Lanes(MOST_UNDERWAY) as lanes:
                async for delivery in deliveries:
                    change = _decoded(delivery.value)
                    key = change.key if isinstance(change, Change) else b""
                    await lanes.put(key, partial(self._handle, change, delivery))
        finally:
            await self._sink.close()

    async def _handle(self, change: Change | str, delivery: Delivery) -> None:
        if isinstance(change, str):
            # Any producer may write to a topic; what is no change can't be told to anyone.
            await self._give_up("a record of the alert topic", change, delivery)
        elif change.to in TOLD:
            await self._deliver(change, delivery)
        await delivery.acknowledge()

    async def _deliver(self, change: Change, delivery: Delivery) -> None:
        if change.to == "resolved" and self.refresh_seconds is not None:
            # From now on it is not told again, whatever becomes of the news of its end.
            kept_until = asyncio.get_running_loop().time() + _ENDS_KEPT_SECONDS
            self._ended[change.key] = _End(parse(change.changed_at), kept_until)
        try:
            # A copy, as it holds what belongs to one call.
            await self._retrying.copy()(self._try, change, delivery.our_turn)
        except Exception as error:  # noqa: BLE001 - no sink may end the task that feeds it
            what = f"{change.rule} {change.to} ({change.id})"
            await self._give_up(what, reason(error), delivery)
        else:
            self.results["sent"] += 1

    async def _try(self, change: Change, our_turn: Callable[[], Awaitable[None]]) -> None:
        """Deliver once, when it is our turn and the receiver wants to hear us."""
        clock = asyncio.get_running_loop().time
        async with self._slots:
            await asyncio.sleep(max(0.0, self._quiet_until - clock()))
            # Last, since whatever else is waited for may last longer than our turn.
            await our_turn()
            try:
                await self._sink.deliver(change)
            except Retry as error:
                if error.after is not None:
                    until = clock() + min(error.after, self._patience)
                    self._quiet_until = max(self._quiet_until, until)
                raise
        self._works()

    async def _give_up(self, what: str, why: str, delivery: Delivery) -> None:
        await delivery.bury(why)
        self.results["dropped"] += 1
        # Both may be words of a record that anybody has written.
        log.error(
            "sink %s: gave up %s: %s; `cxkpi dlq list --topic cx.alert` has it",
            *(self.name, printable(what), printable(why)),
        )

    def _wait(self, state: RetryCallState) -> float:
        """A random wait, or what the receiver asked for where that is longer.

        A last try is left, whatever the receiver asks for.
        """
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.after if isinstance(error, Retry) and error.after is not None else 0.0
        left = self._retry_for - (state.seconds_since_start or 0.0) - _LAST_TRY_SECONDS
        wait = max(self._jitter(state), min(asked, MOST_PATIENCE))
        return min(wait, left) if left > 0 else wait

    def _note_retry(self, state: RetryCallState) -> None:
        self.results["retried"] += 1
        error = state.outcome.exception() if state.outcome is not None else None
        self._fails(f"{reason(error)}, trying again")

    def _fails(self, words: str) -> None:
        """A receiver that is down for an hour is worth one line, not hundreds."""
        level = logging.DEBUG if self._is_failing else logging.WARNING
        log.log(level, "sink %s: %s", self.name, printable(words))
        self._is_failing = True

    def _works(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("sink %s: takes alerts again", self.name)

    # What fires is told again and again -----------------------------------------------------------

    async def refresh(self, firing: Iterable[Change]) -> None:
        """Tell again what fires, to a sink that forgets; what goes wrong goes right next time."""
        if not isinstance(self._sink, Refreshed):
            raise TypeError(f"sink {self.name} forgets nothing, so it can't be told again")
        known = {change.key: change for change in firing}
        now = asyncio.get_running_loop().time()
        # One that is long over by what is known is not known to fire by what is read later either.
        self._ended = {
            key: end for key, end in self._ended.items() if key in known or now < end.kept_until
        }
        try:
            is_told = await self._sink.keep(self._still_firing(known))
        except Exception as error:  # noqa: BLE001 - no sink may end the task that feeds it
            self.results["unrefreshed"] += 1
            self._fails(f"{reason(error)}, alerts that fire were not told again")
        else:
            # A receiver that was told nothing has not shown that it takes anything.
            if is_told:
                self.results["refreshed"] += 1
                self._works()

    def _still_firing(self, known: dict[bytes, Change]) -> Iterator[Change]:
        """Without those whose end was told since: what is known of them is old."""
        for key, change in known.items():
            end = self._ended.get(key)
            if end is None or parse(change.changed_at) > end.at:
                yield change


def _decoded(value: bytes) -> Change | str:
    """The change, or why it is none."""
    try:
        change = msgspec.json.decode(value, type=Change)
        parse(change.started_at)
        parse(change.changed_at)
    except (*UNREADABLE, Refused) as error:
        return str(error)
    return change


def _may_work_later(error: BaseException) -> bool:
    """Everything but a refusal; a cancelled task is no failure."""
    return isinstance(error, Exception) and not isinstance(error, Rejected)


def reason(error: BaseException | None) -> str:
    """Why, without the words of foreign exceptions, which may hold addresses and secrets."""
    return str(error) if isinstance(error, SinkError) else cause(error)
