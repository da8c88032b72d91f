"""What the KPIs of subscriptions say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_ACTIVE: Final = {
    "subscription.base": ("active", "occurred_at", "labels"),
    "subscription.started": ("subscription_id", "occurred_at"),
    "subscription.cancelled": ("subscription_id", "occurred_at", "started_at"),
}
_PAID: Final = ("subscription_id", "amount", "upsell_amount", "currency")
_PAYMENTS: Final = {
    f"subscription.{kind}": _PAID for kind in ("started", "renewed", "upgraded", "downgraded")
}
_CORRECTIONS: Final = (
    (
        "`subscription.base` sets how many are active with exactly its labels at its time; it"
        " replaces what was counted for them up to then. A base that comes after the window's start"
        " is counted back to it by the starts and cancellations in between."
    ),
    (
        "A `subscription.started` of an active subscription and a `subscription.cancelled` of a"
        " cancelled one change no count, so records sent again do no harm."
    ),
    (
        "A cancelled subscription is remembered for the longest window (at least 7 days) from its"
        " cancellation, or from a younger event that arrives after that; a younger one that had"
        " arrived before, such as a renewal, makes it no longer."
    ),
    (
        "`subscription.base`, `subscription.started` and `subscription.cancelled` are never `late`:"
        " however old, they still say what is active, a base that is over a day late perhaps only"
        " to the pane or day that"
        " [its shard still tells apart](../operations.md#bases-of-subscriptions)."
    ),
    (
        "Active subscriptions count where the latest event with their labels that changed a count"
        " counts: once a value gets a place among `max_values_per_dimension`, or has lost"
        " it to another, the next one takes along what is active, from the window's start on."
    ),
)
_NO_BASE: Final = (
    "Subscriptions from before the first event, as long as no `subscription.base` says how many"
    " there are: without it the denominator holds only what was seen to start."
)

_STORY: Final[tuple[Told, ...]] = (
    told("100 are active at 09:00.", "subscription.base", "09:00", active=100),
    told(
        "A new one, which pays 20.",
        "subscription.started",
        "11:10",
        subscription_id="s1",
        amount=20,
        currency="EUR",
    ),
    told(
        "An old one pays 30, of which 10 are upsell.",
        "subscription.upgraded",
        "11:20",
        subscription_id="s2",
        amount=30,
        upsell_amount=10,
        currency="EUR",
    ),
    told(
        "One of the 100 is lost after 100 days.",
        "subscription.cancelled",
        "11:30",
        subscription_id="s3",
        started_at="2025-11-22T11:30:00Z",
    ),
    told(
        "The new one is lost too, after half an hour.",
        "subscription.cancelled",
        "11:40",
        subscription_id="s1",
    ),
)

CHURN: Final = Meaning(
    definition=(
        "How many subscriptions were cancelled in the window, for each that was active at its"
        " start. The longer the window, the higher the value: compare windows of one length. It can"
        " exceed 1 where more are cancelled than were active at the start, since those that began"
        " within the window count in the numerator too; `retention` leaves them out."
    ),
    examples=(
        Example("500 at the start, 50 lost", {"active": 500, "cancelled": 50}, 0.1, 0.077, 0.129),
        Example(
            "1,000 at the start, 700 left",
            {"active": 1_000, "cancelled": 300},
            0.3,
            0.272,
            0.329,
        ),
        Example(
            "130 at the start, 9 of them lost, and 3 of those that began since",
            {"active": 130, "cancelled": 12},
            0.0923,
            0.054,
            0.154,
        ),
    ),
    story=_STORY,
    fed_by=_ACTIVE,
    left_out=(
        _NO_BASE,
        "Downgrades: a subscription that pays less is still there.",
        "Series in which none, or fewer than none, were active at the start: they have no value.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.05,
)

RETENTION: Final = Meaning(
    definition=(
        "The share of the subscriptions active at the window's start that were not cancelled in it."
        " Those that began within the window change nothing, whether they are cancelled again or"
        " not. A cancelled subscription was active at the start if it began before it, or if its"
        " start is unknown."
    ),
    examples=(
        Example(
            "130 at the start, 9 of them lost; 23 new ones make no difference",
            {"active": 130, "cancelled": 9},
            0.9308,
            0.874,
            0.963,
        ),
        Example(
            "The same with 3 of the new ones cancelled too",
            {"active": 130, "cancelled": 12, "cancelled_since": 3},
            0.9308,
            0.874,
            0.963,
        ),
    ),
    story=_STORY,
    fed_by=_ACTIVE,
    left_out=(_NO_BASE, "Subscriptions that began within the window."),
    corrections=_CORRECTIONS,
    alert_at=0.95,
)

UPSELL: Final = Meaning(
    definition=(
        "The share of what was paid in the window that is upsell, for each currency. Amounts are"
        " never converted: each currency is a series of its own."
    ),
    examples=(Example("200 of 1,000 paid", {"upsell": 200, "amount": 1_000}, 0.2),),
    story=_STORY,
    fed_by=_PAYMENTS,
    left_out=(
        "Events without `amount`.",
        (
            "A higher amount without `upsell_amount`, even of a `subscription.upgraded`: what is"
            " upsell is the sender's to say."
        ),
    ),
    corrections=(
        (
            "Amounts are never taken back, and those of a repeated start or renewal add up; only a"
            " record with the same `event_id` within `dedupe` counts once. A refund is no event."
        ),
    ),
    alert_at=0.1,
)

CLV: Final = Meaning(
    definition=(
        "What a subscription brings in over its life, for each currency: what each active one pays"
        " in a day, times the mean lifetime in days of those cancelled in the window. It is"
        " revenue, not profit, and is not discounted. It holds for a window long enough that"
        " payments and cancellations in it are typical, such as 30 days."
    ),
    examples=(
        Example(
            "3,000 paid in 30 days by 100 subscriptions; 10 cancelled after 365 days each",
            {
                "amount": 3_000,
                "payments": 100,
                "active": 100,
                "window_days": 30,
                "lifetime": 3_650,
                "lifetimes": 10,
            },
            365.0,
        ),
    ),
    story=_STORY,
    fed_by={
        **_PAYMENTS,
        "subscription.started": (*_PAID, "occurred_at"),
        "subscription.base": ("active", "occurred_at", "labels"),
        "subscription.cancelled": ("subscription_id", "occurred_at", "started_at"),
    },
    left_out=(
        "Lifetimes of cancelled subscriptions whose start is unknown.",
        (
            "Lifetimes of those that are still active: the mean is of ended ones, and so is too"
            " short while a business is young."
        ),
        "Currencies without a payment in the window: they have no value.",
    ),
    corrections=(*_CORRECTIONS, "Amounts are never taken back."),
    alert_at=200.0,
)
