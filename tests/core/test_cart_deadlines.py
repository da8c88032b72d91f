"""Open carts are queued once each, and are abandoned as if each event had queued them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.core import intake, state
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.topics.cart import carts
from stream.core.topics.cart.carts import Carts, Deadlines
from stream.core.values import Values
from tests.core.test_columns import contents
from tests.reference.streams import NOON, text

MANY = settings(
    max_examples=int(os.environ.get("FUZZ_STREAMS", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
#: Of a batch, by type: what happens to which cart, and how long before the clock.
Told = tuple[str, str, int]
#: The clock goes on by so much, then a batch comes, and then this becomes of the worker.
Step = tuple[int, list[Told], str]


def _records(told: Sequence[Told], now: int, batch: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "event_id": f"{batch}-{place}",
                "type": f"cart.{kind}",
                "cart_id": cart,
                "occurred_at": text(now - ago),
                "labels": {"channel": "web" if place % 2 else "app"},
            }
        ).encode()
        for place, (kind, cart, ago) in enumerate(told)
    ]


@contextmanager
def _noted() -> Iterator[list[Deadlines]]:
    """The queues that are made meanwhile."""
    made: list[Deadlines] = []

    def new() -> Deadlines:
        made.append(Deadlines())
        return made[-1]

    with mock.patch.object(carts, "Deadlines", new):
        yield made


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("kinds", [("opened", "updated"), ("updated",)])
def test_a_cart_that_goes_on_being_used_is_queued_once(
    kinds: tuple[str, ...], columns: bool
) -> None:
    core = Settings(cart_timeout_ms=DAY)
    with _noted() as made:
        shard = Shard(core, Values(core), columns=columns)
    (queue,) = made
    now = NOON
    for batch in range(400):
        now += MINUTE
        told = [(kind, str(cart), 0) for cart in range(50) for kind in kinds]
        shard.ingest("cx.cart", _records(told, now, batch), now)
        shard.advance(now)
        assert len(queue) == 50
    shard.advance(now + DAY - 1)
    assert len(queue) <= 50
    shard.advance(now + DAY)
    assert len(queue) == 0


class _Worker:
    """A shard and its log, of which only what was flushed outlasts it."""

    def __init__(self, core: Settings, *, columns: bool) -> None:
        self._core = core
        self._columns = columns
        self._records: dict[bytes, bytes] = {}
        self.start()

    def start(self) -> None:
        self.shard = Shard(self._core, Values(self._core), columns=self._columns)
        self._log = StateLog(self.shard)
        self._log.recover(self._records)

    def take(self, step: Step, now: int, batch: int) -> dict[str, Any]:
        """Take a step; what is known then."""
        _, told, then = step
        self.shard.ingest("cx.cart", _records(told, now, batch), now)
        if then in ("advance", "flush", "restart"):
            self.shard.advance(now)
        if then in ("flush", "restart"):
            for key, value in self._log.flush(now):
                self._records.pop(key, None)
                if value is not None:
                    self._records[key] = value
        if then == "restart":
            self.start()
        self.shard.fold(now)
        return contents(self.shard)


@contextmanager
def _all_queued() -> Iterator[None]:
    """Have every event queue its cart, as if its former deadline were not queued."""
    queue = Carts._queue

    def anew(self: Carts, slot: int, lives: Any, former: Any = ()) -> None:
        queue(self, slot, lives)

    with mock.patch.object(Carts, "_queue", anew):
        yield


_AGO: Final = (0, 0, -SECOND, 1, SECOND, 9 * MINUTE, 10 * MINUTE, HOUR, DAY, 6 * DAY, 7 * DAY)
_GOES_ON: Final = (0, 1, SECOND, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, DAY, 4 * DAY, 8 * DAY)
_told = st.tuples(
    st.sampled_from(("opened", "updated", "updated", "purchased")),
    st.sampled_from("abc"),
    st.sampled_from(_AGO),
)
_steps = st.lists(
    st.tuples(
        st.sampled_from(_GOES_ON),
        st.lists(_told, max_size=6),
        st.sampled_from(("", "", "advance", "advance", "flush", "restart")),
    ),
    max_size=25,
)


#: A life begins before one that is open, so that its deadline is the earlier one.
_EARLIER: Final[list[Step]] = [
    (0, [("opened", "a", -SECOND)], ""),
    (0, [("opened", "a", 7 * DAY)], ""),
    (14 * DAY, [], "advance"),
]
#: Of an id that was bought long ago another life is open, whose deadline moves away.
_LATER: Final[list[Step]] = [
    (0, [("purchased", "a", 0)], ""),
    (8 * DAY, [("opened", "a", 0)], ""),
    (30 * MINUTE, [("updated", "a", 0)], ""),
    (45 * MINUTE, [], "advance"),
    (15 * MINUTE, [], "advance"),
]


@MANY
@example(_EARLIER, 20 * DAY, False)
@example(_LATER, HOUR, False)
@given(_steps, st.sampled_from((10 * MINUTE, HOUR, DAY, 8 * DAY, 20 * DAY)), st.booleans())
def test_carts_are_abandoned_as_if_each_event_had_queued_them(
    steps: list[Step], timeout: int, columns: bool
) -> None:
    core = replace(Settings(), cart_timeout_ms=timeout, dimensions=("channel",), rollups=((),))
    now = NOON
    with (
        mock.patch.object(intake, "_FEW", 3),
        mock.patch.object(state, "BLOCK_BUDGET", 1),
    ):
        worker, all_queued = (_Worker(core, columns=c) for c in (columns, False))
        last = (30 * DAY, list[Told](), "advance")
        for batch, step in enumerate([*steps, last]):
            now += step[0]
            known = worker.take(step, now, batch)
            with _all_queued():
                assert known == all_queued.take(step, now, batch)
