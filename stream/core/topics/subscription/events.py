"""What a billing system sends: how many are active, starts, payments and cancellations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream.core.cells import Ints
from stream.core.event import Amount, Count, Currency, Event, EventType, FieldRule, Id, Timestamp
from stream.core.timestamps import parse


class SubscriptionBase(Event, tag="subscription.base"):
    """How many subscriptions are active with exactly these labels."""

    active: Count


class Payment(Event):
    """What the paying events of a subscription carry."""

    subscription_id: Id
    amount: Amount | None = None
    upsell_amount: Amount | None = None
    currency: Currency | None = None
    plan: str | None = None


class SubscriptionStarted(Payment, tag="subscription.started"):
    """A subscription has begun."""


class SubscriptionRenewed(Payment, tag="subscription.renewed"):
    """A subscription goes on for another period."""


class SubscriptionUpgraded(Payment, tag="subscription.upgraded"):
    """A subscription was changed to a larger plan."""


class SubscriptionDowngraded(Payment, tag="subscription.downgraded"):
    """A subscription was changed to a smaller plan."""


class SubscriptionCancelled(Event, tag="subscription.cancelled"):
    """A subscription has ended."""

    subscription_id: Id
    started_at: Timestamp | None = None
    reason: str | None = None


def _check_currency(event: Any, at: int) -> str | None:
    if event.amount is not None and event.currency is None:
        return "is required with amount"
    return None


def _check_upsell(event: Any, at: int) -> str | None:
    if event.upsell_amount is None:
        return None
    if event.amount is None:
        return "needs amount"
    return "is more than amount" if event.upsell_amount > event.amount else None


def _check_started_at(event: Any, at: int) -> str | None:
    if event.started_at is not None and parse(event.started_at) > at:
        return "is later than occurred_at"
    return None


_PAYMENT_RULES = (
    FieldRule("currency", "is required with amount", _check_currency),
    FieldRule("upsell_amount", "needs amount and is not more than it", _check_upsell),
)


def _are_sound(events: Sequence[Any], at: Ints) -> bool:
    return all(
        event.upsell_amount is None
        if event.amount is None
        else event.currency is not None
        and (event.upsell_amount is None or event.upsell_amount <= event.amount)
        for event in events
    )


def _payment(struct: type[Event], *, never_late: bool = False) -> EventType:
    return EventType(
        struct,
        key="subscription_id",
        rules=_PAYMENT_RULES,
        never_late=never_late,
        by_currency=True,
        hold=_are_sound,
    )


TYPES = (
    # The key of a base is its labels, which tell one base from another.
    EventType(SubscriptionBase, key="labels", never_late=True),
    _payment(SubscriptionStarted, never_late=True),
    _payment(SubscriptionRenewed),
    _payment(SubscriptionUpgraded),
    _payment(SubscriptionDowngraded),
    EventType(
        SubscriptionCancelled,
        key="subscription_id",
        rules=(FieldRule("started_at", "is not later than occurred_at", _check_started_at),),
        never_late=True,
    ),
)
