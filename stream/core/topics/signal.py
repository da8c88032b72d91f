"""Customer signals: health and customers at risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

import numpy as np

from stream.core.bounds import WILSON
from stream.core.event import Event, EventType, Id, Name, Percent, says
from stream.core.formulas import FIXED, sum_of
from stream.core.integers import Ints, Mask
from stream.core.kpi import Column, Kpi, Move, Term
from stream.core.labels import Labels
from stream.core.meanings import signal as meanings
from stream.core.memo import Memo
from stream.core.memory import LAST, Memory
from stream.core.signals import SignalTable
from stream.core.table import ABSENT, NO_KEY
from stream.core.topic import (
    MEMO,
    Arrivals,
    ColumnHandler,
    Context,
    Keeper,
    RowHandler,
    Store,
    Topic,
    numbers,
)

#: Further signals of a customer are not taken in, so that one customer can't fill the memory. Those
#: whose time is over don't count, though they are still remembered until somebody tidies up.
MAX_SIGNALS: Final = 64


class CustomerSignal(Event, tag="customer.signal"):
    """A measure of how a customer is doing, 0 (bad) to 100 (good)."""

    customer_id: Annotated[Id, says("The customer.")]  # Optional elsewhere, required here.
    signal: Annotated[Name, says("What was measured.")]
    value: Annotated[Percent, says("The measure, from 0 (bad) to 100 (good).")]


NAME = "cx.signal"
TYPES = (EventType(CustomerSignal, key="customer_id"),)


#: Spreads the digests of signals' names, so that those of equal customers differ.
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class _Said(NamedTuple):
    """What signals say, in columns; customers and signals by their digests."""

    customer: Ints
    signal: Ints
    value: Column


class Customers(Keeper):
    """Remembers the latest value of each customer's signals: a record for each of them."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._signals = context.signals
        self._keep_ms = context.settings.memory_ms
        self._customers = Memory(
            "customers",
            self._keep_ms,
            SignalTable.FIELDS,
            context.settings.max_remembered,
            on_drop=self._signals.left,
        )
        self._signals.watch(self._customers)
        self._names = Memo(self.digests.of, MEMO)

    def handlers(self) -> Mapping[type[Event], RowHandler]:
        return {CustomerSignal: self._signalled}

    def columns(self) -> Mapping[type[Event], ColumnHandler[Any]]:
        return {CustomerSignal: ColumnHandler(self._said, self._many_signalled, kin=_customers)}

    def keys(
        self, struct: type[Event], events: Sequence[Any], said: tuple[Any, ...] | None = None
    ) -> Ints:
        """What stands for each event's customer and signal."""
        if not isinstance(said, _Said):
            said = self._said(events)
        return _pair(said.customer, said.signal)

    def stores(self) -> Sequence[Store]:
        return (self._customers,)

    def remembered(self) -> Mapping[str, int]:
        return {self._customers.name: len(self._signals)}

    def _said(self, events: Sequence[CustomerSignal]) -> _Said:
        customers = self.digests.many([e.customer_id for e in events])
        return _Said(customers, self._signals_of(events), numbers([e.value for e in events]))

    def _signals_of(self, events: Sequence[CustomerSignal]) -> Ints:
        names = map(self._names.__getitem__, (event.signal for event in events))
        return np.fromiter(names, dtype=np.int64, count=len(events))

    def _signalled(
        self, event: CustomerSignal, key: int, occurred: int, at: int, row: int, labels: Labels
    ) -> None:
        known = self._customers.get(key)
        if known is not None and occurred < known[LAST]:
            return
        customer, since = self.digests.of(event.customer_id), at - self._keep_ms
        comes = known is None or known[LAST] < since
        if comes and not self._signals.has_room(customer, since, MAX_SIGNALS):
            return
        signal = self._names[event.signal]
        slot = self._customers.put(key, occurred, customer, signal, row, event.value)
        if known is None:
            self._signals.entered(np.array([slot]), np.array([customer]))

    def _many_signalled(self, signals: Arrivals[_Said]) -> Mask:
        slots, occurred, rows = self._customers.find(signals.keys), signals.occurred, signals.rows
        value, customers = signals.said.value, signals.said.customer
        last = self._customers.field("last")[slots]
        new = slots == ABSENT
        unusual = self._without_room(customers, new | (last < signals.at - self._keep_ms))
        newer = np.flatnonzero(~new & ~unusual & (occurred >= last))
        self._customers.update(slots[newer], occurred[newer], row=rows[newer], value=value[newer])
        chosen = np.flatnonzero(new & ~unusual)
        if chosen.size:
            entered = self._customers.put_new(
                signals.keys[chosen],
                occurred[chosen],
                customer=customers[chosen],
                signal=signals.said.signal[chosen],
                row=rows[chosen],
                value=value[chosen],
            )
            self._signals.entered(entered, customers[chosen])
        return unusual

    def _without_room(self, customers: Ints, coming: Mask) -> Mask:
        """Which of the coming signals are of customers who may not have room for all of them.

        Those that come again after they were to be forgotten take room like new ones.
        """
        found = np.zeros(coming.size, dtype=bool)
        places = np.flatnonzero(coming)
        if places.size:
            own = customers[places]
            _, which, counts = np.unique(own, return_inverse=True, return_counts=True)
            lacking = self._signals.counts(own) + counts[which] > MAX_SIGNALS
            found[places[lacking]] = True
            if lacking.any():
                self._signals.gather(own[lacking])
        return found

    def recovered(self) -> None:
        """Number the customers anew."""
        self._names.clear()
        self._signals.recovered()


def _customers(said: _Said) -> Ints:
    return said.customer


def _pair(customers: Ints, signals: Ints) -> Ints:
    """One digest for the customer and the signal."""
    keys = (customers.view(np.uint64) ^ (signals.view(np.uint64) * _SPREAD)).view(np.int64)
    keys[keys == NO_KEY] = 1
    return keys


TOPIC = Topic(
    name=NAME,
    title="Customer health",
    types=TYPES,
    keeper=Customers,
    kpis=(
        Kpi(
            id="health",
            gauge="cx_health",
            title="Customer health",
            help="Mean health score of customers with a signal in the window.",
            formula="sum of scores / customers",
            terms=(Term("sum of scores", "health_sum"), Term("customers", "customers")),
            unit="points",
            source='Gainsight, "Scorecards Overview" (support.gainsight.com): the weighted score.',
            good="up",
            meaning=meanings.HEALTH,
            numerator=sum_of("health_sum"),
            numerator_unit=FIXED,
            denominator=sum_of("customers"),
            highest=100.0,
        ),
        Kpi(
            id="at_risk",
            gauge="cx_at_risk_ratio",
            title="Customers at risk",
            help="Share of customers with a signal in the window whose score is below 40.",
            formula="customers at risk / customers",
            terms=(Term("customers at risk", "customers_at_risk"), Term("customers", "customers")),
            unit="ratio",
            source='Gainsight, "Scorecard FAQs" (support.gainsight.com): ranges of health scores.',
            good="down",
            meaning=meanings.AT_RISK,
            numerator=sum_of("customers_at_risk"),
            denominator=sum_of("customers"),
            bounds=WILSON,
            highest=1.0,
            moves=(
                Move("customer below 40", "customers below 40", ("customers", "customers_at_risk")),
                Move("customer at 40 or more", "customers at 40 or more", ("customers",)),
            ),
        ),
    ),
)
