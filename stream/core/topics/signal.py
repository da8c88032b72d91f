"""Customer signals: health and customers at risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from stream.core.event import Event, EventType, Id, Name, Percent
from stream.core.formulas import sum_of
from stream.core.kpi import Kpi
from stream.core.labels import Labels
from stream.core.memory import Memory, digest
from stream.core.topic import Context, Keeper, Store, Topic

#: Further signals of a customer are not taken in, so that one customer can't fill the memory.
MAX_SIGNALS: Final = 64


class CustomerSignal(Event, tag="customer.signal"):
    """A measure of how a customer is doing, 0 (bad) to 100 (good)."""

    customer_id: Id  # Optional elsewhere, required here.
    signal: Name
    value: Percent


NAME = "cx.signal"
TYPES = (EventType(CustomerSignal, key="customer_id"),)


class Customers(Keeper):
    """Remembers the latest value of each customer's signals.

    A record's rest is one tuple (signal, occurred at, row, value) for each of them.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._signals = context.signals
        self._customers = Memory("customers", context.settings.memory_ms)

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {CustomerSignal: self._signalled}

    def stores(self) -> Sequence[Store]:
        return (self._customers,)

    def _signalled(self, event: CustomerSignal, occurred: int, at: int, labels: Labels) -> None:
        row = self.segments.row(labels, None, at)
        key = digest(event.customer_id)
        known = self._customers.get(key)
        latest = {said[0]: said for said in known[2:]} if known else {}
        before = latest.get(event.signal)
        if before is not None and occurred < before[1]:
            return
        if before is None and len(latest) >= MAX_SIGNALS:
            return
        latest[event.signal] = (event.signal, occurred, row, event.value)
        self._customers.put(key, max(said[1] for said in latest.values()), *latest.values())
        self._signals.put(key, event.signal, occurred, row, event.value)

    def advance(self, at: int) -> None:
        """Forget what no window can hold any more, once it is most of the table."""
        if self._signals.mostly_before(at - self.settings.memory_ms):
            self.recovered()

    def recovered(self) -> None:
        """Fill the table from what is remembered."""
        self._signals.clear()
        for key, (_, _, *latest) in self._customers.items():
            for signal, occurred, row, value in latest:
                self._signals.put(key, signal, occurred, row, value)


TOPIC = Topic(
    name=NAME,
    types=TYPES,
    keeper=Customers,
    kpis=(
        Kpi(
            id="health",
            gauge="cx_health",
            title="Customer health",
            help="Mean health score of customers with a signal in the window.",
            unit="points",
            source="Weighted mean of a customer's latest signals, averaged over customers.",
            good="up",
            numerator=sum_of("health_sum"),
            denominator=sum_of("customers"),
            highest=100.0,
            topic=NAME,
        ),
        Kpi(
            id="at_risk",
            gauge="cx_at_risk_ratio",
            title="Customers at risk",
            help="Share of customers with a signal in the window whose score is below 40.",
            unit="ratio",
            source="Customers with a health score below 40 over customers with a score.",
            good="down",
            numerator=sum_of("customers_at_risk"),
            denominator=sum_of("customers"),
            bounds="wilson",
            highest=1.0,
            topic=NAME,
        ),
    ),
)
