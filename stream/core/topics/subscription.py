"""Subscriptions: churn, retention, upsell and customer lifetime value."""

from __future__ import annotations

from stream.core.event import Amount, Count, Currency, Event, EventType, Id, Timestamp


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
