"""What a cart went through, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stream.core.ends_of_time import BEFORE_ALL

#: (time in ms, row of the labels that it counts under)
Moment = tuple[int, int]
#: No such moment.
NOTHING: Final[Moment] = (0, -1)
#: When a cart was counted as abandoned, purchased and recovered.
Counted = tuple[Moment, Moment, Moment]
UNCOUNTED: Final[Counted] = (NOTHING, NOTHING, NOTHING)
#: Unbroken activity: its first event, its last event, and the row of the last one's labels.
Run = tuple[int, int, int]
#: A cart with more runs, none of them bought, forgets the youngest.
MAX_RUNS: Final = 64
#: Before all deadlines: what is not settled by events stays open until ``advance``.
NEVER: Final = BEFORE_ALL


class Fate(NamedTuple):
    """What became of a cart: abandoned or purchased at a moment, and bought after all."""

    abandoned: Moment = NOTHING
    purchased: Moment = NOTHING
    recovered: Moment = NOTHING
    #: When the cart is abandoned if nothing else happens; None where its fate is settled.
    deadline: int | None = None


def fate(runs: Sequence[Run], purchase: Moment, timeout_ms: int, at: int) -> Fate:
    """What became of a cart by time ``at``. ``purchase`` is its earliest one, or ``NOTHING``."""
    if not runs:
        return Fate(purchased=purchase)
    _, last, row = runs[0]
    deadline = last + timeout_ms
    if purchase != NOTHING and purchase[0] <= deadline:
        return Fate(purchased=purchase)
    if purchase == NOTHING and len(runs) == 1 and at < deadline:
        return Fate(deadline=deadline)
    return Fate(abandoned=(deadline, row), recovered=purchase)


def with_activity(runs: Sequence[Run], moment: Moment, timeout_ms: int) -> tuple[Run, ...]:
    """The runs with one more activity, which may join two of them."""
    time, row = moment
    if len(runs) == 1 and runs[0][0] <= time and runs[0][1] <= time <= runs[0][1] + timeout_ms:
        # The usual case: a cart that is used goes on being used.
        return ((runs[0][0], time, row),)
    before = [r for r in runs if r[1] + timeout_ms < time]
    after = [r for r in runs if time + timeout_ms < r[0]]
    met = runs[len(before) : len(runs) - len(after)]
    last = max(met, key=lambda r: r[1], default=(time, time, row))
    first = min(time, *(r[0] for r in met)) if met else time
    end = (time, row) if time >= last[1] else last[1:]
    return (*before, (first, *end), *after)


def rejoined(runs: Sequence[Run], timeout_ms: int) -> tuple[Run, ...]:
    """The runs as this time-out has them: a shorter one may have told apart what goes on now."""
    found: list[Run] = []
    for first, end, row in runs:
        if found and first <= found[-1][1] + timeout_ms:
            first = found.pop()[0]
        found.append((first, end, row))
    return tuple(found)


def up_to_purchase(runs: Sequence[Run], purchase: Moment) -> tuple[Run, ...]:
    """The runs without what came after a purchase, which can't matter any more.

    Of a run that goes on beyond the purchase, events before and after it stand within the time-out,
    so it reaches up to the purchase.
    """
    return tuple((s, min(e, purchase[0]), row) for s, e, row in runs if s <= purchase[0])


class Life(NamedTuple):
    """What is known of one cart. Its id may have others, so far apart that it was new each time.

    ``runs`` is its activity up to the earliest purchase; ``counted`` when it was counted as
    abandoned, purchased and recovered.
    """

    last: int
    runs: tuple[Run, ...] = ()
    purchase: Moment = NOTHING
    counted: Counted = UNCOUNTED

    @property
    def first(self) -> int:
        """The time of its first event."""
        return self.runs[0][0] if self.runs else self.purchase[0]

    def open_until(self, timeout_ms: int) -> int | None:
        """When it has to be counted as abandoned; None where it was, or where events settled it."""
        if self.counted[0] != NOTHING:
            return None
        return fate(self.runs, self.purchase, timeout_ms, NEVER).deadline


def joined(lives: Sequence[Life], occurred: int, timeout_ms: int) -> Life:
    """The one life that lives in order turn out to be, with an event at ``occurred``."""
    if not lives:
        return Life(occurred)
    runs: tuple[Run, ...] = ()
    purchase = NOTHING
    for life in lives:
        runs += life.runs
        purchase = life.purchase
        if purchase != NOTHING:
            break
    return Life(max(occurred, lives[-1].last), rejoined(runs, timeout_ms), purchase)
