"""Carts: abandonment and recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from stream.core.cells import Ints
from stream.core.event import Amount, Currency, Event, EventType, Id
from stream.core.formulas import sum_of
from stream.core.kpi import Counter, Kpi, Move, Term
from stream.core.labels import Labels
from stream.core.meanings import cart as meanings
from stream.core.memory import Memory, Record
from stream.core.settings import MINUTE
from stream.core.table import ABSENT, Mask, Slots
from stream.core.topic import (
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    Topic,
)


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


#: Bits of what a cart was counted as, but for abandoned, which has its time.
PURCHASED, RECOVERED = 1, 2


class Deadlines:
    """Which carts may have to be abandoned, by minute.

    A cart that is open stands in the minute of its deadline or in an earlier one.
    """

    def __init__(self) -> None:
        self._slots: dict[int, list[Slots]] = {}

    def put(self, slots: Slots, deadlines: Ints) -> None:
        """Note carts by their slots."""
        minutes = deadlines // MINUTE
        for minute in np.unique(minutes).tolist():
            self._slots.setdefault(minute, []).append(slots[minutes == minute].astype(np.int32))

    def up_to(self, at: int) -> Slots:
        """Take out all whose minute has begun at ``at``."""
        minutes = [minute for minute in self._slots if minute * MINUTE <= at]
        if not minutes:
            return np.empty(0, dtype=np.int64)
        parts = [part for minute in minutes for part in self._slots.pop(minute)]
        return np.unique(np.concatenate(parts)).astype(np.int64)


class Carts(Keeper):
    """Remembers each cart's activities, and what it was counted as.

    The fields of a record hold a single life with one run of activity at most: that is nearly every
    cart. Others have all their lives, in order, as the ``extra``.
    """

    entity = "cart_id"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._memory_ms = context.settings.memory_ms
        self._timeout_ms = context.settings.cart_timeout_ms
        self._keep_ms = 2 * self._memory_ms + self._timeout_ms
        self._carts = Memory(
            "carts",
            self._keep_ms,
            {
                # The run of activity; row −1 where there is none.
                "first": np.int64,
                "end": np.int64,
                "row": np.int32,
                # The purchase; row −1 where there is none.
                "bought_at": np.int64,
                "bought_row": np.int32,
                # When it was counted as abandoned, or ``NEVER``, and what else it was counted as.
                "abandoned_at": np.int64,
                "counted": np.uint8,
            },
            context.settings.max_remembered,
        )
        self._deadlines = Deadlines()
        self._abandoned, self._purchased, self._recovered = (
            self.layout.contribution([(name, 1)])
            for name in ("carts_abandoned", "carts_purchased", "carts_recovered")
        )

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {CartOpened: self._used, CartUpdated: self._used, CartPurchased: self._bought}

    def columns(self) -> Mapping[type[Event], ColumnHandler]:
        return {
            CartOpened: self._many_used,
            CartUpdated: self._many_used,
            CartPurchased: self._many_bought,
        }

    def stores(self) -> Sequence[Store]:
        return (self._carts,)

    # One event ----------------------------------------------------------------------------------

    def _used(
        self, cart: CartEvent, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred)
        if life.purchase == NOTHING or occurred <= life.purchase[0]:
            runs = with_activity(life.runs, (occurred, row), self._timeout_ms)[:MAX_RUNS]
            life = Life(life.last, runs, life.purchase)
        self._put(key, (*before, self._settled(life, near), *after))

    def _bought(
        self, cart: CartEvent, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        before, near, after = self._lives(key, occurred, at)
        life = joined(near, occurred)
        if life.purchase == NOTHING or occurred < life.purchase[0]:
            purchase = (occurred, row)
            life = Life(life.last, up_to_purchase(life.runs, purchase), purchase)
        self._put(key, (*before, self._settled(life, near), *after))

    def _lives(self, key: int, occurred: int, at: int) -> tuple[list[Life], list[Life], list[Life]]:
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

    def _put(self, key: int, lives: Sequence[Life]) -> None:
        fields, extra = _record_of(lives)
        slot = self._carts.put(key, lives[-1].last, *fields, extra=extra)
        self._queue(slot, lives)

    def _queue(self, slot: int, lives: Sequence[Life]) -> None:
        deadlines = [d for life in lives if (d := life.open_until(self._timeout_ms))]
        if deadlines:
            self._deadlines.put(np.array([slot]), np.array([min(deadlines)]))

    def _settled(self, life: Life, former: Sequence[Life], at: int = NEVER) -> Life:
        """The life with what became of it counted, in the place of what was counted before."""
        outcome = fate(life.runs, life.purchase, self._timeout_ms, at)
        now = (outcome.abandoned, outcome.purchased, outcome.recovered)
        counted = [old.counted for old in former] or [_UNCOUNTED]
        if counted != [now]:
            self._count(counted, now)
        return Life(life.last, life.runs, life.purchase, now)

    def _count(self, counted: Sequence[Counted], now: Counted) -> None:
        for i, contribution in enumerate((self._abandoned, self._purchased, self._recovered)):
            before = [moment for moments in counted if (moment := moments[i]) != NOTHING]
            for moment in before:
                if moment != now[i]:
                    self.tally.take_back(*moment, contribution)
            if now[i] != NOTHING and now[i] not in before:
                self.tally.add(*now[i], contribution)

    # Many events --------------------------------------------------------------------------------

    def _many_used(self, carts: Arrivals) -> Mask:
        slots, occurred = self._carts.find(carts.keys), carts.occurred
        new: Mask = slots == ABSENT
        going_on = self._in_use(slots, occurred)
        if new.any():
            entered = self._carts.put_new(
                carts.keys[new],
                occurred[new],
                first=occurred[new],
                end=occurred[new],
                row=carts.rows[new],
                bought_at=0,
                bought_row=-1,
                abandoned_at=NEVER,
                counted=0,
            )
            self._deadlines.put(entered, occurred[new] + self._timeout_ms)
        if going_on.any():
            self._carts.update(
                slots[going_on],
                occurred[going_on],
                end=occurred[going_on],
                row=carts.rows[going_on],
            )
        unusual: Mask = ~new & ~going_on
        return unusual

    def _many_bought(self, carts: Arrivals) -> Mask:
        slots, occurred = self._carts.find(carts.keys), carts.occurred
        new: Mask = slots == ABSENT
        going_on = self._in_use(slots, occurred)
        bought: Mask = new | going_on
        at, rows = occurred[bought], carts.rows[bought]
        counts = [("carts_purchased", np.ones(at.size, dtype=np.int64))]
        self.tally.add_columns(at, rows, self.layout.parts(counts))
        if new.any():
            self._carts.put_new(
                carts.keys[new],
                occurred[new],
                first=0,
                end=0,
                row=-1,
                bought_at=occurred[new],
                bought_row=carts.rows[new],
                abandoned_at=NEVER,
                counted=PURCHASED,
            )
        if going_on.any():
            self._carts.update(
                slots[going_on],
                occurred[going_on],
                bought_at=occurred[going_on],
                bought_row=carts.rows[going_on],
                counted=PURCHASED,
            )
        return ~bought

    def _in_use(self, slots: Slots, occurred: Ints) -> Mask:
        """Which carts are open and go on being used, within the time-out of their last event."""
        known = np.flatnonzero(slots != ABSENT)
        found = np.zeros(slots.size, dtype=bool)
        some, at = slots[known], occurred[known]
        end = self._carts.field("end")[some]
        within = (end <= at) & (at <= end + self._timeout_ms) & (at - end <= self._memory_ms)
        found[known] = self._is_open(some) & (self._carts.field("last")[some] == end) & within
        return found

    def _is_open(self, slots: Slots) -> Mask:
        """Which carts have a single run of activity, and nothing else."""
        carts = self._carts
        is_open: Mask = (
            (carts.field("row")[slots] >= 0)
            & (carts.field("bought_row")[slots] < 0)
            & (carts.field("abandoned_at")[slots] == NEVER)
            & carts.without_extra(slots)
        )
        return is_open

    def advance(self, at: int) -> None:
        """Abandon the carts whose deadline has come."""
        slots = self._deadlines.up_to(at)
        if not slots.size:
            return
        slots = slots[self._carts.are_live(slots)]
        is_open = self._is_open(slots)
        others, slots = slots[~is_open], slots[is_open]
        deadlines = self._carts.field("end")[slots] + self._timeout_ms
        due = deadlines <= at
        self._deadlines.put(slots[~due], deadlines[~due])
        slots, deadlines = slots[due], deadlines[due]
        if slots.size:
            counts = [("carts_abandoned", np.ones(slots.size, dtype=np.int64))]
            rows = self._carts.field("row")[slots].astype(np.int64)
            self.tally.add_columns(deadlines, rows, self.layout.parts(counts))
            self._carts.update(slots, self._carts.field("last")[slots], abandoned_at=deadlines)
        for slot in others[~self._carts.without_extra(others)].tolist():
            self._abandon(slot, at)

    def _abandon(self, slot: int, at: int) -> None:
        """Abandon what is due among the several lives or runs of an id."""
        lives = [Life(*life) for life in self._carts.extra_of(slot)]
        settled = [
            self._settled(life, [life], at) if 0 < life.open_until(self._timeout_ms) <= at else life
            for life in lives
        ]
        if settled != lives:
            (key,) = self._carts.keys(np.array([slot])).tolist()
            self._put(key, settled)
        else:
            self._queue(slot, lives)

    def recovered(self) -> None:
        """Queue the deadlines of the carts that are open."""
        self._deadlines = Deadlines()
        slots = self._carts.live()
        usual = slots[self._is_open(slots)]
        self._deadlines.put(usual, self._carts.field("end")[usual] + self._timeout_ms)
        for slot in slots[~self._carts.without_extra(slots)].tolist():
            self._queue(slot, [Life(*life) for life in self._carts.extra_of(slot)])


def _lives_of(record: Record) -> list[Life]:
    """The lives in a record."""
    last, *fields, extra = record
    if extra is not None:
        return [Life(*life) for life in extra]
    first, end, row, bought_at, bought_row, abandoned_at, counted = fields
    purchase = (bought_at, bought_row)
    moments = (
        (abandoned_at, row) if abandoned_at != NEVER else NOTHING,
        purchase if counted & PURCHASED else NOTHING,
        purchase if counted & RECOVERED else NOTHING,
    )
    return [Life(last, ((first, end, row),) if row >= 0 else (), purchase, moments)]


def _record_of(lives: Sequence[Life]) -> tuple[tuple[int, ...], tuple[Life, ...] | None]:
    """The fields of a record, and the lives where they don't fit into them."""
    last, runs, purchase, (abandoned, purchased, recovered) = lives[-1]
    first, end, row = runs[0] if runs else (0, 0, -1)
    counted = (purchased != NOTHING) * PURCHASED + (recovered != NOTHING) * RECOVERED
    abandoned_at = NEVER if abandoned == NOTHING else abandoned[0]
    fields = (first, end, row, *purchase, abandoned_at, counted)
    if _lives_of((last, *fields, None)) == list(lives):
        return fields, None
    return (0, 0, -1, *NOTHING, NEVER, 0), tuple(lives)


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
            formula="abandoned / (abandoned + purchased)",
            terms=(Term("abandoned", "carts_abandoned"), Term("purchased", "carts_purchased")),
            unit="ratio",
            source=(
                "M. Kukar-Kinney and A. G. Close, \"The determinants of consumers' online shopping"
                ' cart abandonment", Journal of the Academy of Marketing Science (2010).'
            ),
            good="down",
            meaning=meanings.CART_ABANDONMENT,
            numerator=sum_of("carts_abandoned"),
            denominator=sum_of("carts_abandoned", "carts_purchased"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
            moves=(
                Move("abandoned cart", "abandoned carts", ("carts_abandoned",)),
                Move("purchased cart", "purchased carts", ("carts_purchased",)),
            ),
        ),
        Kpi(
            id="cart_recovered",
            gauge="cx_cart_recovered",
            title="Recovered carts",
            help="Carts that were bought after they were abandoned.",
            formula="recovered",
            terms=(Term("recovered", "carts_recovered"),),
            unit="carts",
            source='AppJetty, "Recovered Abandoned Carts" (docs.appjetty.com).',
            good="up",
            meaning=meanings.CART_RECOVERED,
            value=lambda c: np.where(c["carts_recovered"] > 0, c["carts_recovered"], np.nan),
            grows_with_window=True,
            comparable="never",
            topic=NAME,
            moves=(Move("recovered cart", "recovered carts", ("carts_recovered",)),),
        ),
    ),
)
