"""Subscriptions: churn, retention, upsell and customer lifetime value."""

from __future__ import annotations

from typing import Final

import numpy as np

from stream.core.bounds import WILSON
from stream.core.formulas import FIXED, divided, sum_of, times
from stream.core.integers import Mask
from stream.core.kpi import Column, Columns, Counter, Kpi, Move, Term, Whole
from stream.core.meanings import subscription as meanings
from stream.core.settings import DAY
from stream.core.topic import Topic
from stream.core.topics.subscription.events import TYPES
from stream.core.topics.subscription.subscriptions import Subscriptions

NAME: Final = "cx.subscription"


def _retained(c: Columns) -> Whole:
    retained: Whole = c["active"] - (c["cancelled"] - c["cancelled_since"])
    return retained


def _clv(c: Columns) -> Column:
    # Days of lifetimes and of the window are stored alike, so only amounts have a unit here.
    paid = times(c["amount"], c["lifetime"])
    active_days = times(c["active"], c["window_days"])
    value = divided(paid, times(times(active_days, c["lifetimes"]), FIXED))
    # A currency that was once paid in has no value in a window without payments.
    has_payments = c["payments"] > 0
    is_there: Mask = has_payments & (c["active"] > 0) & (c["lifetimes"] > 0)
    return np.where(is_there, value, np.nan)


TOPIC = Topic(
    name=NAME,
    title="Subscriptions",
    types=TYPES,
    keeper=Subscriptions,
    counters=(
        Counter("cancelled", "Subscriptions cancelled"),
        # Counted at the time of the start: what started in the window was not active at its start.
        Counter("cancelled_since", "Cancelled subscriptions, counted at the time of their start"),
        Counter("lifetimes", "Cancelled subscriptions with a known start"),
        Counter(
            "lifetime",
            "Lifetimes of cancelled subscriptions in days, added up",
            scale=DAY,
            wide=True,
        ),
        Counter("payments", "Events with an amount", labels=("currency",)),
        Counter("amount", "Amounts paid", scale=FIXED, wide=True, labels=("currency",)),
        Counter("upsell", "Amounts paid for upsells", scale=FIXED, wide=True, labels=("currency",)),
    ),
    kpis=(
        Kpi(
            id="churn",
            gauge="cx_churn_ratio",
            title="Churn",
            help="Cancelled in the window over active at its start.",
            formula="cancelled / active at start",
            terms=(Term("cancelled", "cancelled"), Term("active at start", "active")),
            unit="ratio",
            source=(
                'F. F. Reichheld and W. E. Sasser, "Zero Defections: Quality Comes to Services",'
                " Harvard Business Review (September 1990): the defection rate."
            ),
            good="down",
            meaning=meanings.CHURN,
            numerator=sum_of("cancelled"),
            denominator=sum_of("active"),
            bounds=WILSON,
            grows_with_window=True,
            comparable="same window",
            moves=(Move("cancellation", "cancellations", ("cancelled",)),),
        ),
        Kpi(
            id="retention",
            gauge="cx_retention_ratio",
            title="Retention",
            help="Share of those active at the window's start who have not cancelled since.",
            formula="(active at start − (cancelled − new and cancelled)) / active at start",
            terms=(
                Term("active at start", "active"),
                Term("cancelled", "cancelled"),
                Term("new and cancelled", "cancelled_since"),
            ),
            unit="ratio",
            source='Piwik PRO, "Customer retention rate" (piwik.pro/glossary).',
            good="up",
            meaning=meanings.RETENTION,
            numerator=_retained,
            denominator=sum_of("active"),
            bounds=WILSON,
            # Times that contradict each other can make one subscription count as two lost ones.
            lowest=None,
            highest=1.0,
            compares_across_windows=False,
            comparable="same window",
            moves=(Move("cancellation", "cancellations", ("cancelled",)),),
        ),
        Kpi(
            id="upsell",
            gauge="cx_upsell_ratio",
            title="Upsell share",
            help="Share of the amounts paid that is upsell.",
            formula="upsell / amount",
            terms=(Term("upsell", "upsell"), Term("amount", "amount")),
            unit="ratio",
            source='KPI Zone, "Expansion Revenue Rate" (library.kpi.zone).',
            good="up",
            meaning=meanings.UPSELL,
            numerator=sum_of("upsell"),
            denominator=sum_of("amount"),
            numerator_unit=FIXED,
            denominator_unit=FIXED,
            labels=("currency",),
            highest=1.0,
        ),
        Kpi(
            id="clv",
            gauge="cx_clv",
            title="Customer lifetime value",
            help="Amount per active subscription and day, times the mean lifetime in days.",
            formula="amount / active at start / window days · lifetime / lifetimes",
            terms=(
                Term("amount", "amount"),
                Term("active at start", "active"),
                Term("window days", "window_days"),
                Term("lifetime", "lifetime"),
                Term("lifetimes", "lifetimes"),
            ),
            unit="currency",
            source=(
                'S. Gupta and D. R. Lehmann, "Customers as Assets", Journal of Interactive'
                " Marketing (2003), here undiscounted, of revenue, with the lifetimes seen."
            ),
            good="up",
            meaning=meanings.CLV,
            value=_clv,
            labels=("currency",),
            comparable="never",
        ),
    ),
)
