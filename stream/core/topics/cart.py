"""Carts: abandonment and recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Final

import numpy as np

from stream.core.event import Amount, Currency, Event, EventType, Id
from stream.core.formulas import sum_of
from stream.core.kpi import Counter, Kpi
from stream.core.labels import Labels
from stream.core.memory import LAST, Memory, digest
from stream.core.topic import Context, Keeper, Store, Topic


class CartEvent(Event):
    """What all events of a cart carry."""

    cart_id: Id
    value: Amount | None = None
    currency: Currency | None = None


class CartOpened(CartEvent, tag="cart.opened"):
    """A first item was put into a cart."""


class CartUpdated(CartEvent, tag="cart.updated"):
    """A cart was changed."""


class CartPurchased(CartEvent, tag="cart.purchased"):
    """A cart was bought."""


NAME = "cx.cart"
TYPES = tuple(EventType(t, key="cart_id") for t in (CartOpened, CartUpdated, CartPurchased))


#: (time in ms, row of the labels that it counts under)
Moment = tuple[int, int]
#: No such moment.
NOTHING: Final[Moment] = (0, -1)
#: Unbroken activity: its first event, its last event, and the row of the last one's labels.
Run = tuple[int, int, int]
#: A cart with more runs, none of them bought, forgets the youngest.
MAX_RUNS: Final = 64
#: Before all deadlines: what is not settled by events stays open until ``advance``.
NEVER: Final = -(1 << 60)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a cart: abandoned or purchased at a moment, and bought after all."""

    abandoned: Moment = NOTHING
    purchased: Moment = NOTHING
    recovered: Moment = NOTHING
    #: When the cart is abandoned if nothing else happens; 0 where its fate is settled.
    deadline: int = 0


def fate(runs: Sequence[Run], purchase: Moment, timeout_ms: int, at: int) -> Fate:
    """What became of a cart by time ``at``. ``purchase`` is its earliest one, or ``NOTHING``."""
    if not runs:
        return Fate(purchased=purchase)
    _, last, row = runs[0]
    deadline = last + timeout_ms
    if purchase != NOTHING and purchase[0] <= deadline:
        return Fate(purchased=purchase)
    if purchase == NOTHING and len(runs) == 1 and at < deadline:
        return Fate(deadline=deadline)
    return Fate(abandoned=(deadline, row), recovered=purchase)


def with_activity(runs: Sequence[Run], moment: Moment, timeout_ms: int) -> tuple[Run, ...]:
    """The runs with one more activity, which may join two of them."""
    time, row = moment
    before = [r for r in runs if r[1] + timeout_ms < time]
    after = [r for r in runs if time + timeout_ms < r[0]]
    joined = runs[len(before) : len(runs) - len(after)]
    last = max(joined, key=lambda r: r[1], default=(time, time, row))
    first = min(time, *(r[0] for r in joined)) if joined else time
    end = (time, row) if time >= last[1] else last[1:]
    return (*before, (first, *end), *after)


def up_to_purchase(runs: Sequence[Run], purchase: Moment) -> tuple[Run, ...]:
    """The runs without what came after a purchase, which can't matter any more.

    Of a run that goes on beyond the purchase, events before and after it stand within the time-out,
    so it reaches up to the purchase.
    """
    return tuple((s, min(e, purchase[0]), row) for s, e, row in runs if s <= purchase[0])


class Carts(Keeper):
    """Remembers each cart's activities, and what it was counted as.

    A record's rest is (runs, purchase, abandoned, purchased, recovered): its activity up to the
    earliest purchase, that purchase, and the moments that are counted.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        self._timeout_ms = context.settings.cart_timeout_ms
        self._carts = Memory("carts", 2 * self._memory_ms + self._timeout_ms)
        self._deadlines: list[tuple[int, bytes]] = []
        self._counts = tuple(
            self.layout.contribution([(name, 1)])
            for name in ("carts_abandoned", "carts_purchased", "carts_recovered")
        )

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {CartOpened: self._active, CartUpdated: self._active, CartPurchased: self._purchased}

    def stores(self) -> Sequence[Store]:
        return (self._carts,)

    def _active(self, cart: CartEvent, occurred: int, at: int, labels: Labels) -> None:
        key, last, runs, purchase, counted = self._recall(cart, occurred)
        row = self.segments.row(labels, None, at)
        if purchase == NOTHING or occurred <= purchase[0]:
            runs = with_activity(runs, (occurred, row), self._timeout_ms)[:MAX_RUNS]
        self._settle(key, max(last, occurred), runs, purchase, counted)

    def _purchased(self, cart: CartEvent, occurred: int, at: int, labels: Labels) -> None:
        key, last, runs, purchase, counted = self._recall(cart, occurred)
        row = self.segments.row(labels, None, at)
        if purchase == NOTHING or occurred < purchase[0]:
            purchase = (occurred, row)
            runs = up_to_purchase(runs, purchase)
        self._settle(key, max(last, occurred), runs, purchase, counted)

    def _recall(
        self, cart: CartEvent, occurred: int
    ) -> tuple[bytes, int, tuple[Run, ...], Moment, tuple[Moment, ...]]:
        key = digest(cart.cart_id)
        known = self._carts.get(key)
        if known is None or occurred - known[LAST] > self._memory_ms:
            return key, occurred, (), NOTHING, (NOTHING, NOTHING, NOTHING)
        _, last, runs, purchase, *counted = known
        return key, last, runs, purchase, tuple(counted)

    def _settle(
        self,
        key: bytes,
        last: int,
        runs: tuple[Run, ...],
        purchase: Moment,
        counted: tuple[Moment, ...],
        at: int = NEVER,
    ) -> None:
        """Count what became of the cart, in the place of what was counted before."""
        outcome = fate(runs, purchase, self._timeout_ms, at)
        now = (outcome.abandoned, outcome.purchased, outcome.recovered)
        for contribution, before, after in zip(self._counts, counted, now, strict=True):
            if before != after:
                if before != NOTHING:
                    self.tally.take_back(*before, contribution)
                if after != NOTHING:
                    self.tally.add(*after, contribution)
        if outcome.deadline:
            heappush(self._deadlines, (outcome.deadline, key))
        self._carts.put(key, last, runs, purchase, *now)

    def advance(self, at: int) -> None:
        """Abandon the carts whose deadline has come."""
        while self._deadlines and self._deadlines[0][0] <= at:
            _, key = heappop(self._deadlines)
            known = self._carts.get(key)
            if known:
                _, last, runs, purchase, *counted = known
                if fate(runs, purchase, self._timeout_ms, NEVER).deadline:
                    self._settle(key, last, runs, purchase, tuple(counted), at)

    def recovered(self) -> None:
        """Queue the deadlines of the carts that are open."""
        self._deadlines = []
        for key, (_, _, runs, purchase, abandoned, *_) in self._carts.items():
            deadline = fate(runs, purchase, self._timeout_ms, NEVER).deadline
            if deadline and abandoned == NOTHING:
                self._deadlines.append((deadline, key))
        heapify(self._deadlines)


TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Carts,
    counters=(
        Counter("carts_abandoned", "Carts without an event for the time-out"),
        Counter("carts_purchased", "Carts that were bought in time"),
        Counter("carts_recovered", "Carts that were bought after they were abandoned"),
    ),
    kpis=(
        Kpi(
            id="cart_abandonment",
            gauge="cx_cart_abandonment_ratio",
            title="Cart abandonment",
            help="Share of carts that were abandoned, by time of outcome.",
            unit="ratio",
            source="Abandoned over abandoned and purchased carts.",
            good="down",
            numerator=sum_of("carts_abandoned"),
            denominator=sum_of("carts_abandoned", "carts_purchased"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
        ),
        Kpi(
            id="cart_recovered",
            gauge="cx_cart_recovered",
            title="Recovered carts",
            help="Carts that were bought after they were abandoned.",
            unit="carts",
            source="A count of purchases after the abandonment.",
            good="up",
            value=lambda c: np.where(c["carts_recovered"] > 0, c["carts_recovered"], np.nan),
            grows_with_window=True,
            topic=NAME,
        ),
    ),
)
