"""What needs several events at the right times to happen, told event by event.

A tale is about one entity, or one set of labels. Its steps are drawn, so that it may as well come
to nothing; what happens in all of a stream is counted by ``situations``.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.reference.choosing import shuffled
from tests.reference.config import DAY, memory
from tests.reference.streams import Composer

Tale = Callable[[Composer], None]


def _edges(length: int) -> list[int]:
    """Within, exactly at and just beyond a length of time."""
    return [length, length + 1, length - 1, length // 2, 0]


def edited(c: Composer) -> None:
    """An answer, its edits at the edge of memory, when its pane has or has not left a window."""
    first, entity = c.now, f"r{len(c.records)}"
    c.tell("survey.responded", first, entity)
    sizes = [size for size, _ in c.config["windows"].values()]
    for _ in range(1 + c.picks.below(2)):
        ahead = c.picks.of([0, *_edges(memory(c.config)), *sizes])
        c.pass_time(max(c.now, first + ahead))
        kind = c.picks.of(["survey.updated", "survey.responded"])
        c.tell(kind, first + c.picks.of(_edges(ahead)), entity)


def closed_and_reopened(c: Composer) -> None:
    """A ticket that is closed and opened again, within seven days, at their end and after."""
    closed, entity = c.now, f"t{len(c.records)}"
    c.tell("ticket.closed", closed, entity)
    for _ in range(1 + c.picks.below(3)):
        kind = c.picks.of(["ticket.reopened", "ticket.closed"])
        step = c.picks.of([*_edges(7 * DAY), -1, -7 * DAY])
        c.tell(kind, closed + step, entity, resolved=True, contacts=1, reopens=0)
        if not c.picks.below(2):
            closed += step


def overtaken(c: Composer) -> None:
    """A close that comes after one that is more than seven days younger, and what follows them."""
    closed, entity = max(c.times), f"t{len(c.records)}"
    c.tell("ticket.closed", closed, entity, resolved=True, contacts=1, reopens=0)
    if not c.picks.below(3):
        c.tell("ticket.reopened", closed + c.picks.of([0, DAY, 7 * DAY]), entity)
    older = closed - 7 * DAY - c.picks.of([1, 1, 0, DAY])
    c.tell("ticket.closed", older, entity, resolved=True, contacts=1, reopens=0)
    for _ in range(1 + c.picks.below(2)):
        kind = c.picks.of(["ticket.reopened", "ticket.closed"])
        at = c.picks.of([closed + c.picks.of(_edges(7 * DAY)), closed + DAY, older + 1, older - 1])
        c.tell(kind, at, entity, resolved=True, contacts=1, reopens=0)


def cart(c: Composer) -> None:
    """A cart's events about its deadline and the end of its memory, in any order of arrival."""
    entity, timeout = f"c{len(c.records)}", c.config["cart_timeout"]
    at, told = c.now, list[tuple[str, int]]()
    for kind in ("cart.opened", "cart.updated", "cart.purchased", "cart.purchased"):
        if c.picks.below(4):
            told.append((c.picks.of([kind, "cart.updated"]), at))
        at += c.picks.of([*_edges(timeout), 2 * timeout + 1, *_edges(memory(c.config))])
    for kind, moment in shuffled(c.picks, told):
        c.tell(kind, moment, entity)
        if not c.picks.below(4):
            c.pass_time(max(c.now, moment + c.picks.of(_edges(timeout))))


def left_alone(c: Composer) -> None:
    """A cart that is come back to after about its time-out or its memory, in order of arrival."""
    entity, at = f"c{len(c.records)}", max(c.times)
    c.tell("cart.opened", at, entity)
    timeout, longest = c.config["cart_timeout"], memory(c.config)
    for kind in ("cart.updated", "cart.purchased") if c.picks.below(2) else ("cart.purchased",):
        at += c.picks.of([timeout, timeout - 1, timeout + 1, longest, longest + 1])
        c.tell(kind, at, entity)


def subscribed(c: Composer) -> None:
    """A subscription that starts and ends, more than once, with starts seen late or never."""
    entity, at = f"s{len(c.records)}", c.now
    for _ in range(2 + c.picks.below(3)):
        kind = c.picks.of(
            [
                "subscription.started",
                "subscription.cancelled",
                "subscription.renewed",
                "subscription.cancelled",
                "subscription.upgraded",
            ]
        )
        c.tell(kind, at, entity)
        at += c.picks.of([1, *_edges(memory(c.config)), -1, -DAY, *_edges(DAY)])


def based(c: Composer) -> None:
    """Bases of one set of labels in a pane and in others, with starts and ends in between."""
    size, pane = c.picks.of(list(c.config["windows"].values()))
    labels = c.picks.of([{"channel": "web", "region": "eu"}, {"channel": "web", "plan": "pro"}])
    begin = c.now // pane * pane
    told = []
    for _ in range(2 + c.picks.below(3)):
        at = begin + c.picks.of([0, 1, pane - 1, pane, 2 * pane, -1, -pane, size, size - pane])
        kind = c.picks.of(["subscription.base", "subscription.started", "subscription.cancelled"])
        told.append((kind, at))
    for kind, at in [("subscription.base", begin), *shuffled(c.picks, told)]:
        c.tell(kind, at, f"b{len(c.records)}", labels)


def overdrawn(c: Composer) -> None:
    """More cancellations than there were subscriptions, so that the share is none."""
    _, pane = c.picks.of(list(c.config["windows"].values()))
    labels, at = c.picks.of([{"channel": "web", "region": "eu"}, {}]), max(c.times)
    c.tell("subscription.base", at, labels=labels, active=1 + c.picks.below(2))
    for _ in range(3):
        at += c.picks.of([pane, 1, 2 * pane])
        c.tell("subscription.cancelled", at, f"o{len(c.records)}", labels)


def repeated(c: Composer) -> None:
    """A record that comes again when event time has moved on by exactly ``dedupe``, or not."""
    c.tell(c.picks.of(c.names), c.now, f"d{len(c.records)}")
    record, at = c.records[-1], max(c.times)
    c.pass_time(at + c.picks.of(_edges(c.config["dedupe"])))
    c.records.append(record)


def freed(c: Composer) -> None:
    """Values of a dimension that come back after they were away for as long as they are kept."""
    name = c.picks.of(["channel", "region"])
    at = max(c.times)
    for value in ("one", "two", "one", "three"):
        at += c.picks.of([0, 1, *_edges(memory(c.config))])
        c.tell(c.picks.of(c.names), at, f"f{len(c.records)}", {name: value})


def late(c: Composer) -> None:
    """An event at the edge of being late: by the oldest pane of a window or by seven days."""
    now = max(c.times)
    edges = [now - 7 * DAY]
    edges += [
        (now // pane - size // pane + 1) * pane for size, pane in c.config["windows"].values()
    ]
    kind = c.picks.of([name for name in c.names if name != "subscription.base"])
    c.tell(kind, c.picks.of(edges) - c.picks.of([0, 1, DAY]), f"l{len(c.records)}")


def signalled(c: Composer) -> None:
    """Signals of one customer at about one time, under labels that change."""
    entity, at = f"k{len(c.records)}", c.now
    for _ in range(2 + c.picks.below(3)):
        signal = c.picks.of(["usage", "usage", "logins"])
        c.tell("customer.signal", at + c.picks.of([0, 1, -1, -DAY]), entity, signal=signal)


#: Tales by the topic that they need; those without tell of any.
TALES: list[tuple[str, Tale]] = [
    ("survey", edited),
    ("ticket", closed_and_reopened),
    ("ticket", overtaken),
    ("cart", cart),
    ("cart", left_alone),
    ("subscription", subscribed),
    ("subscription", based),
    ("subscription", overdrawn),
    ("customer", signalled),
    ("", repeated),
    ("visit", freed),
    ("", late),
]
