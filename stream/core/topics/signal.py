"""Customer signals: health and customers at risk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stream.core.event import Event, EventType, Id, Name, Percent
from stream.core.labels import Labels
from stream.core.topic import Keeper, Topic


class CustomerSignal(Event, tag="customer.signal"):
    """A measure of how a customer is doing, 0 (bad) to 100 (good)."""

    customer_id: Id  # Optional elsewhere, required here.
    signal: Name
    value: Percent


NAME = "cx.signal"
TYPES = (EventType(CustomerSignal, key="customer_id"),)


class Signals(Keeper):
    """Takes in signals."""

    def handlers(self) -> Mapping[type[Event], Callable[[Any, int, int, Labels], None]]:
        return {CustomerSignal: self._signalled}

    def _signalled(self, event: CustomerSignal, occurred: int, at: int, labels: Labels) -> None:
        self.segments.row(labels, None, at)


TOPIC = Topic(name=NAME, types=TYPES, keeper=Signals)
