"""What the KPIs of carts say to people."""

from __future__ import annotations

from typing import Final

from stream.core.kpi import Example, Meaning, Told, told

_CART: Final = ("cart_id", "occurred_at")
_FED_BY: Final = {"cart.opened": _CART, "cart.updated": _CART, "cart.purchased": _CART}
_CORRECTIONS: Final = (
    (
        "A cart's outcome follows from its events in order of `occurred_at`, however they arrive."
        " One from before the outcome that arrives later moves the outcome or takes it back."
    ),
    (
        "A purchase that arrives late but was made in time turns the abandoned cart into a"
        " purchased one; one made after the time-out leaves it abandoned and makes it recovered,"
        " once, however often it is bought."
    ),
    (
        "A next event from ahead of the worker's clock, which is 60 s at most, may say that the"
        " time-out goes by before it does: the cart counts as abandoned from then on, unless a"
        " purchase made in time still comes."
    ),
    (
        "After the longest window (at least 7 days) without an event, or after the time-out where"
        " that is longer, the id is a new cart."
    ),
)

_STORY: Final[tuple[Told, ...]] = (
    told("A cart that is bought in time,", "cart.opened", "11:05", cart_id="c1"),
    told("and so is purchased at 11:20.", "cart.purchased", "11:20", cart_id="c1"),
    told("Abandoned at 11:40, without another event.", "cart.opened", "11:10", cart_id="c2"),
    told("Abandoned at 11:42,", "cart.opened", "11:12", cart_id="c3"),
    told("and recovered at 11:50.", "cart.purchased", "11:50", cart_id="c3"),
    told("Still open at noon: counts nothing.", "cart.opened", "11:45", cart_id="c4"),
)

CART_ABANDONMENT: Final = Meaning(
    definition=(
        "The share of carts that were abandoned, among those whose outcome is known, by the time of"
        " the outcome. A cart is purchased at its `cart.purchased`, and abandoned once"
        " `[cart] timeout` (30 minutes by default) has gone by since its last activity: exactly"
        " then, whenever it is noticed, and without another event."
    ),
    examples=(
        Example(
            "800 carts, 100 of them bought",
            {"carts_abandoned": 700, "carts_purchased": 100},
            0.875,
            0.850,
            0.896,
        ),
        Example(
            "125 carts, 75 of them bought",
            {"carts_abandoned": 50, "carts_purchased": 75},
            0.4,
            0.318,
            0.488,
        ),
    ),
    story=_STORY,
    fed_by=_FED_BY,
    left_out=(
        "Carts that are still open: they count when they are bought or their time is over.",
        (
            "What happens to a cart after its outcome, but for a purchase of an abandoned one,"
            " which counts in `cart_recovered`."
        ),
        "Visits without a cart: the share is of carts, not of visits or checkouts.",
    ),
    corrections=_CORRECTIONS,
    alert_at=0.8,
)

CART_RECOVERED: Final = Meaning(
    definition=(
        "How many carts were bought after they had been abandoned. They stay abandoned in"
        " `cart_abandonment`: the abandonment happened, and this count says what came of it. It is"
        " a count, so it grows with the window, and a spike rule scales its baseline."
    ),
    examples=(Example("12 abandoned carts were bought after all", {"carts_recovered": 12}, 12.0),),
    story=_STORY,
    fed_by=_FED_BY,
    left_out=(
        "Purchases within the time-out: such a cart was never abandoned.",
        "Why a customer came back: a reminder or nothing of the kind, there is no event for it.",
    ),
    corrections=_CORRECTIONS,
    alert_at=5.0,
)
