"""Customer signals: health and customers at risk."""

from __future__ import annotations

from stream.core.event import Event, EventType, Id, Name, Percent


class CustomerSignal(Event, tag="customer.signal"):
    """A measure of how a customer is doing, 0 (bad) to 100 (good)."""

    customer_id: Id  # Optional elsewhere, required here.
    signal: Name
    value: Percent


NAME = "cx.signal"
TYPES = (EventType(CustomerSignal, key="customer_id"),)
