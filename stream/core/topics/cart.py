"""Carts: abandonment and recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final, NamedTuple

import numpy as np

from stream.core.event import Amount, Currency, Event, EventType, Id
from stream.core.formulas import sum_of
from stream.core.kpi import Counter, Kpi
from stream.core.labels import Labels
from stream.core.memory import LAST, Memory, Record, digest
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
#: When a cart was counted as abandoned, purchased and recovered.
Counted = tuple[Moment, Moment, Moment]
_UNCOUNTED: Final[Counted] = (NOTHING, NOTHING, NOTHING)
#: Unbroken activity: its first event, its last event, and the row of the last one's labels.
Run = tuple[int, int, int]
#: A cart with more runs, none of them bought, forgets the youngest.
MAX_RUNS: Final = 64
#: Where the lives stand in a record.
LIVES: Final = LAST + 1
#: Before all deadlines: what is not settled by events stays open until ``advance``.
NEVER: Final = -(1 << 60)


class Fate(NamedTuple):
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
    if len(runs) == 1 and runs[0][0] <= time and runs[0][1] <= time <= runs[0][1] + timeout_ms:
        # The usual case: a cart that is used goes on being used.
        return ((runs[0][0], time, row),)
    before = [r for r in runs if r[1] + timeout_ms < time]
    after = [r for r in runs if time + timeout_ms < r[0]]
    met = runs[len(before) : len(runs) - len(after)]
    last = max(met, key=lambda r: r[1], default=(time, time, row))
    first = min(time, *(r[0] for r in met)) if met else time
    end = (time, row) if time >= last[1] else last[1:]
    return (*before, (first, *end), *after)


def up_to_purchase(runs: Sequence[Run], purchase: Moment) -> tuple[Run, ...]:
    """The runs without what came after a purchase, which can't matter any more.

    Of a run that goes on beyond the purchase, events before and after it stand within the time-out,
    so it reaches up to the purchase.
    """
    return tuple((s, min(e, purchase[0]), row) for s, e, row in runs if s <= purchase[0])


class Life(NamedTuple):
    """What is known of one cart. Its id may have others, further apart than carts are remembered.

    ``runs`` is its activity up to the earliest purchase; ``counted`` when it was counted as
    abandoned, purchased and recovered.
    """

    last: int
    runs: tuple[Run, ...] = ()
    purchase: Moment = NOTHING
    counted: Counted = _UNCOUNTED

    @property
    def first(self) -> int:
        """The time of its first event."""
        return self.runs[0][0] if self.runs else self.purchase[0]

    def open_until(self, timeout_ms: int) -> int:
        """When it has to be counted as abandoned; 0 where it was, or where events settled it."""
        if self.counted[0] != NOTHING:
            return 0
        return fate(self.runs, self.purchase, timeout_ms, NEVER).deadline


def _lives_of(record: Record) -> list[Life]:
    """The lives in a record; one that came from the log holds plain tuples."""
    return [life if type(life) is Life else Life(*life) for life in record[LIVES]]


def joined(lives: Sequence[Life], occurred: int) -> Life:
    """The one life that lives in order turn out to be, with an event at ``occurred``."""
    if not lives:
        return Life(occurred)
    if len(lives) == 1:
        return Life(max(occurred, lives[0].last), lives[0].runs, lives[0].purchase)
    runs: tuple[Run, ...] = ()
    purchase = NOTHING
    for life in lives:
        runs += life.runs
        purchase = life.purchase
        if purchase != NOTHING:
            break
    return Life(max(occurred, lives[-1].last), runs, purchase)


class Carts(Keeper):
    """Remembers each cart's activities, and what it was counted as.

    A record's rest is the lives of the cart's id in order, nearly always one.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        self._timeout_ms = context.settings.cart_timeout_ms
        self._keep_ms = 2 * self._memory_ms + self._timeout_ms
        self._carts = Memory("carts", self._keep_ms)
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
        key = digest(cart.cart_id)
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred)
        row = self.segments.row(labels, None, at)
        if life.purchase == NOTHING or occurred <= life.purchase[0]:
            runs = with_activity(life.runs, (occurred, row), self._timeout_ms)[:MAX_RUNS]
            life = Life(life.last, runs, life.purchase)
        self._put(key, (*before, self._settled(key, life, near), *after))

    def _purchased(self, cart: CartEvent, occurred: int, at: int, labels: Labels) -> None:
        key = digest(cart.cart_id)
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred)
        row = self.segments.row(labels, None, at)
        if life.purchase == NOTHING or occurred < life.purchase[0]:
            purchase = (occurred, row)
            life = Life(life.last, up_to_purchase(life.runs, purchase), purchase)
        self._put(key, (*before, self._settled(key, life, near), *after))

    def _lives(
        self, key: bytes, occurred: int, at: int
    ) -> tuple[list[Life], list[Life], list[Life]]:
        """The lives of an id before, around and after an event; one may join several."""
        known = self._carts.get(key)
        if known is None:
            return [], [], []
        lives = _lives_of(known)
        if len(lives) == 1 and abs(occurred - lives[0].last) <= self._memory_ms:
            return [], lives, []
        # Whatever comes near the others is late.
        lives = [life for life in lives if life is lives[-1] or life.last + self._keep_ms >= at]
        before = [life for life in lives if occurred - life.last > self._memory_ms]
        after = [life for life in lives if life.first - occurred > self._memory_ms]
        return before, lives[len(before) : len(lives) - len(after)], after

    def _put(self, key: bytes, lives: Sequence[Life]) -> None:
        self._carts.put(key, lives[-1].last, tuple(lives))

    def _settled(self, key: bytes, life: Life, former: Sequence[Life], at: int = NEVER) -> Life:
        """The life with what became of it counted, in the place of what was counted before."""
        outcome = fate(life.runs, life.purchase, self._timeout_ms, at)
        now = (outcome.abandoned, outcome.purchased, outcome.recovered)
        counted = [old.counted for old in former] or [_UNCOUNTED]
        if counted != [now]:
            self._count(counted, now)
        if outcome.deadline:
            heappush(self._deadlines, (outcome.deadline, key))
        return Life(life.last, life.runs, life.purchase, now)

    def _count(self, counted: Sequence[Counted], now: Counted) -> None:
        for i, contribution in enumerate(self._counts):
            before = [moment for moments in counted if (moment := moments[i]) != NOTHING]
            for moment in before:
                if moment != now[i]:
                    self.tally.take_back(*moment, contribution)
            if now[i] != NOTHING and now[i] not in before:
                self.tally.add(*now[i], contribution)

    def advance(self, at: int) -> None:
        """Abandon the carts whose deadline has come."""
        while self._deadlines and self._deadlines[0][0] <= at:
            _, key = heappop(self._deadlines)
            known = self._carts.get(key)
            if known is None:
                continue
            lives = _lives_of(known)
            for i, life in enumerate(lives):
                if 0 < life.open_until(self._timeout_ms) <= at:
                    lives[i] = self._settled(key, life, [life], at)
                    self._put(key, lives)

    def recovered(self) -> None:
        """Queue the deadlines of the carts that are open."""
        self._deadlines = [
            (deadline, key)
            for key, record in self._carts.items()
            for life in _lives_of(record)
            if (deadline := life.open_until(self._timeout_ms))
        ]
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
