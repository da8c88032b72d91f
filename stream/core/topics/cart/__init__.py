"""Carts: abandonment and recovery."""

from __future__ import annotations

import numpy as np

from stream.core.bounds import WILSON
from stream.core.formulas import sum_of
from stream.core.kpi import Counter, Kpi, Move, Term
from stream.core.meanings import cart as meanings
from stream.core.topic import Topic
from stream.core.topics.cart.carts import Carts
from stream.core.topics.cart.events import TYPES

NAME = "cx.cart"

TOPIC = Topic(
    name=NAME,
    title="Carts",
    types=TYPES,
    keeper=Carts,
    counters=(
        Counter("carts_abandoned", "Carts without an event for the time-out"),
        Counter("carts_purchased", "Carts that were bought in time"),
        Counter("carts_recovered", "Carts that were bought after they were abandoned"),
    ),
    kpis=(
        Kpi(
            id="cart_abandonment",
            gauge="cx_cart_abandonment_ratio",
            title="Cart abandonment",
            help="Share of carts that were abandoned, by time of outcome.",
            formula="abandoned / (abandoned + purchased)",
            terms=(Term("abandoned", "carts_abandoned"), Term("purchased", "carts_purchased")),
            unit="ratio",
            source=(
                "M. Kukar-Kinney and A. G. Close, \"The determinants of consumers' online shopping"
                ' cart abandonment", Journal of the Academy of Marketing Science (2010).'
            ),
            good="down",
            meaning=meanings.CART_ABANDONMENT,
            numerator=sum_of("carts_abandoned"),
            denominator=sum_of("carts_abandoned", "carts_purchased"),
            bounds=WILSON,
            highest=1.0,
            moves=(
                Move("abandoned cart", "abandoned carts", ("carts_abandoned",)),
                Move("purchased cart", "purchased carts", ("carts_purchased",)),
            ),
        ),
        Kpi(
            id="cart_recovered",
            gauge="cx_cart_recovered",
            title="Recovered carts",
            help="Carts that were bought after they were abandoned.",
            formula="recovered",
            terms=(Term("recovered", "carts_recovered"),),
            unit="carts",
            source='AppJetty, "Recovered Abandoned Carts" (docs.appjetty.com).',
            good="up",
            meaning=meanings.CART_RECOVERED,
            value=lambda c: np.where(
                c["carts_recovered"] > 0, c["carts_recovered"].astype(np.float64), np.nan
            ),
            grows_with_window=True,
            comparable="never",
            moves=(Move("recovered cart", "recovered carts", ("carts_recovered",)),),
        ),
    ),
)
