"""What a billing system sends: how many are active, starts, payments and cancellations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np

from stream.core.ends_of_time import AFTER_ALL
from stream.core.event import (
    Amount,
    Count,
    Currency,
    Event,
    EventType,
    FieldRule,
    Id,
    Refused,
    Timestamp,
    having,
    says,
)
from stream.core.integers import Ints
from stream.core.timestamps import parse, parse_all

#: No time: the start of a subscription that was not seen.
UNKNOWN: Final = AFTER_ALL

SubscriptionId = Annotated[Id, says("The subscription.")]


class SubscriptionBase(Event, tag="subscription.base"):
    """How many subscriptions are active with exactly these labels."""

    active: Annotated[
        Count, says("All subscriptions active at occurred_at with exactly these labels.")
    ]


class Payment(Event):
    """What the paying events of a subscription carry."""

    subscription_id: SubscriptionId
    amount: Annotated[Amount | None, says("What is paid.")] = None
    upsell_amount: Annotated[Amount | None, says("The part of the amount that is upsell.")] = None
    currency: Annotated[Currency | None, says("ISO 4217 code, three capitals.")] = None
    plan: Annotated[str | None, says("The plan.")] = None


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

    subscription_id: SubscriptionId
    started_at: Annotated[
        Timestamp | None,
        says(
            "When the subscription began, used where its start was never seen: RFC 3339 with"
            " seconds and offset."
        ),
    ] = None
    reason: Annotated[str | None, says("Why it was cancelled.")] = None


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


def started_at(cancels: Sequence[SubscriptionCancelled]) -> Ints:
    """When subscriptions began, in ms; ``UNKNOWN`` where that is not said.

    Raises:
        Refused: one of the times can't be read.
    """
    said = [cancel.started_at is not None for cancel in cancels]
    started = np.full(len(said), UNKNOWN)
    started[said] = parse_all([c.started_at for c in cancels if c.started_at is not None])
    return started


def _began_before(cancels: Sequence[Any], at: Ints) -> Ints | bool:
    try:
        started = started_at(cancels)
    except Refused:
        return False
    return started if ((started <= at) | (started == UNKNOWN)).all() else False


_PAYMENT_RULES = (
    FieldRule(
        "currency",
        "is required with amount",
        _check_currency,
        ({"if": having("amount", "number"), "then": having("currency", "string")},),
    ),
    FieldRule(
        "upsell_amount",
        "needs amount and is not more than it",
        _check_upsell,
        ({"if": having("upsell_amount", "number"), "then": having("amount", "number")},),
    ),
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
        hold=_began_before,
    ),
)
