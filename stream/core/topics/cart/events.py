"""What a shop sends of its carts: opened, changed, bought."""

from __future__ import annotations

from typing import Annotated

from stream.core.event import Amount, Currency, Event, EventType, Id, says


class CartEvent(Event):
    """What all events of a cart carry."""

    cart_id: Annotated[Id, says("The cart.")]
    value: Annotated[Amount | None, says("What the cart is worth.")] = None
    currency: Annotated[Currency | None, says("ISO 4217 code, three capitals.")] = None


class CartOpened(CartEvent, tag="cart.opened"):
    """A first item was put into a cart."""


class CartUpdated(CartEvent, tag="cart.updated"):
    """A cart was changed."""


class CartPurchased(CartEvent, tag="cart.purchased"):
    """A cart was bought."""


TYPES = tuple(EventType(t, key="cart_id") for t in (CartOpened, CartUpdated, CartPurchased))
