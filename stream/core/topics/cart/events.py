"""What a shop sends of its carts: opened, changed, bought."""

from __future__ import annotations

from stream.core.event import Amount, Currency, Event, EventType, Id


class CartEvent(Event):
    """What all events of a cart carry."""

    cart_id: Id
    value: Amount | None = None
    currency: Currency | None = None


class CartOpened(CartEvent, tag="cart.opened"):
    """A first item was put into a cart."""


class CartUpdated(CartEvent, tag="cart.updated"):
    """A cart was changed."""


class CartPurchased(CartEvent, tag="cart.purchased"):
    """A cart was bought."""


TYPES = tuple(EventType(t, key="cart_id") for t in (CartOpened, CartUpdated, CartPurchased))
