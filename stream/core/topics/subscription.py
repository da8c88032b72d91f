"""Subscriptions: churn, retention, upsell and customer lifetime value."""

from __future__ import annotations

from typing import Any

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
_CANCELLED_RULES = (FieldRule("started_at", "is not later than occurred_at", _check_started_at),)

NAME = "cx.subscription"
TYPES = (
    # The key of a base is its labels, which tell one base from another.
    EventType(SubscriptionBase, key="labels", never_late=True),
    EventType(SubscriptionStarted, "subscription_id", _PAYMENT_RULES, never_late=True),
    EventType(SubscriptionRenewed, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionUpgraded, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionDowngraded, "subscription_id", _PAYMENT_RULES),
    EventType(SubscriptionCancelled, "subscription_id", _CANCELLED_RULES, never_late=True),
)
