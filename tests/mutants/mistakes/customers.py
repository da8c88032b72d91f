"""Mistakes about carts, subscriptions and health."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.mistake import Mistake

CARTS: Final = (
    Mistake(
        "deadline-exclusive",
        "topics/cart/lives.py",
        "if purchase != NOTHING and purchase[0] <= deadline:",
        "if purchase != NOTHING and purchase[0] < deadline:",
        "a purchase exactly at the deadline is too late",
    ),
    Mistake(
        "abandoned-a-moment-late",
        "topics/cart/carts.py",
        "due = deadlines <= at",
        "due = deadlines < at",
        "a cart whose deadline is now is still open",
    ),
    Mistake(
        "abandoned-in-the-pane-of-its-last-event",
        "topics/cart/carts.py",
        'self._count_many("carts_abandoned", deadlines, rows)',
        'self._count_many("carts_abandoned", deadlines - self._timeout_ms, rows)',
        "abandonments count before they happen",
    ),
    Mistake(
        "abandoned-and-again-when-bought",
        "topics/cart/carts.py",
        'self._count_many("carts_abandoned", deadlines[due], left_in[due])',
        'self._count_many("carts_abandoned", deadlines, left_in)',
        "carts that were abandoned are so once more when many are bought after all",
    ),
    Mistake(
        "recovered-counted-twice",
        "topics/cart/lives.py",
        "return Fate(abandoned=(deadline, row), recovered=purchase)",
        "return Fate(abandoned=(deadline, row), purchased=purchase, recovered=purchase)",
        "a recovered cart is abandoned and purchased",
    ),
    Mistake(
        "outcome-not-taken-back",
        "topics/cart/carts.py",
        "                    self.tally.take_back(*moment, contribution)",
        "                    pass",
        "a cart whose outcome moves counts twice",
    ),
    Mistake(
        "abandoned-under-its-first-labels",
        "topics/cart/lives.py",
        "return ((runs[0][0], time, row),)",
        "return ((runs[0][0], time, runs[0][2]),)",
        "an abandonment carries the labels of the cart's opening",
    ),
    Mistake(
        "cart-ids-never-new",
        "topics/cart/carts.py",
        "if len(lives) == 1 and abs(occurred - lives[0].last) <= self._apart_ms:",
        "if len(lives) == 1:",
        "a cart id of long ago is the same cart",
    ),
    Mistake(
        "cart-ids-new-before-the-deadline",
        "topics/cart/carts.py",
        "self._apart_ms = max(memory_ms, self._timeout_ms)",
        "self._apart_ms = memory_ms",
        "with a long time-out a cart that is bought in time is abandoned too",
    ),
    Mistake(
        "deadlines-forgotten-at-a-restart",
        "topics/cart/carts.py",
        '        self._deadlines.put(usual, self._carts.field("end")[usual] + self._timeout_ms)\n'
        "        for slot",
        "        for slot",
        "carts that were open at a restart are never abandoned",
    ),
)


SUBSCRIPTIONS: Final = (
    Mistake(
        "base-counted-back-the-wrong-way",
        "label_set.py",
        "return active - net(start, pane * pane_ms)",
        "return active + net(start, pane * pane_ms)",
        "a base after the window's start is off by twice what has changed",
    ),
    Mistake(
        "base-only-from-the-next-pane",
        "label_set.py",
        "settled = bisect_left(bases, (start + pane_ms, -1, 0))",
        "settled = bisect_left(bases, (start, -1, 0))",
        "a base in the pane where the window starts stands at the end of that pane",
    ),
    Mistake(
        "first-base-of-a-pane",
        "label_set.py",
        "_, _, active = max(b for b in bases if b[0] // pane_ms == pane)",
        "_, _, active = min(b for b in bases if b[0] // pane_ms == pane)",
        "of several bases in a pane the first one counts",
    ),
    Mistake(
        "earlier-arrival-of-a-base",
        "label_set.py",
        "if base[:2] > self.bases.get(unit, (BEFORE_ALL, 0))[:2]:",
        "if base[0] > self.bases.get(unit, (BEFORE_ALL, 0))[0]:",
        "a base that corrects one of the same moment is ignored",
    ),
    Mistake(
        "base-without-its-labels",
        "active.py",
        "found.go_to(segment, at, self._told_again_ms)",
        "found.go_to(tuple(None for _ in segment), at, self._told_again_ms)",
        "active subscriptions count in the total only",
    ),
    Mistake(
        "active-where-they-were-first",
        "label_set.py",
        "if segment != self.segment or at >=",
        "if at >=",
        "after a value got or lost its place, who is active and who leaves are in two series",
    ),
    Mistake(
        "active-where-a-shard-left-them",
        "label_set.py",
        "return max(parts, key=lambda part: (part.since",
        "return min(parts, key=lambda part: (part.since",
        "a shard that hears no more of a set of labels says where it counts",
    ),
    Mistake(
        "active-where-another-shard-heard-of-them",
        "label_set.py",
        "if segment != self.segment or at >= self.since + told_again_ms:",
        "if segment != self.segment:",
        "a value that came back counts where another shard saw it meanwhile",
    ),
    Mistake(
        "active-moved-out-of-order",
        "active.py",
        "return self._place(labels, row) != found.segment",
        "return self._place(labels, row) is None",
        "of events read together the last in their order does not say where they count",
    ),
    Mistake(
        "changes-in-a-base-s-pane-forgotten",
        "label_set.py",
        "first = min(base[0] // w.pane_ms * w.pane_ms for w in windows) // unit_ms",
        "first = base[0] // unit_ms",
        "starts between a pane's start and its base are forgotten once it is old",
    ),
    Mistake(
        "retention-of-those-who-came-later",
        "topics/subscription/__init__.py",
        'c["active"] - (c["cancelled"] - c["cancelled_since"])',
        'c["active"] - c["cancelled"]',
        "who came in the window and left counts as lost of those before",
    ),
    Mistake(
        "cancellation-ahead-of-the-clock",
        "topics/subscription/subscriptions.py",
        "        if occurred <= at:\n            return\n        for window",
        "        if True:\n            return\n        for window",
        "who is cancelled in a moment counts as new and cancelled now",
    ),
    Mistake(
        "cancelled-twice",
        "topics/subscription/subscriptions.py",
        "            return\n        started = UNKNOWN\n",
        "        started = UNKNOWN\n",
        "a second cancellation counts",
    ),
    Mistake(
        "start-after-the-end",
        "topics/subscription/subscriptions.py",
        "        if started > occurred:\n            started = UNKNOWN\n",
        "",
        "lifetimes are negative",
    ),
    Mistake(
        "currencies-added-up",
        "topics/subscription/events.py",
        "by_currency=True,",
        "by_currency=False,",
        "amounts of several currencies are one sum",
    ),
    Mistake(
        "value-in-a-currency-of-long-ago",
        "topics/subscription/__init__.py",
        'has_payments = c["payments"] > 0',
        'has_payments = c["payments"] >= 0',
        "a currency without payments in the window has a value of 0",
    ),
    Mistake(
        "lifetime-value-per-window",
        "topics/subscription/__init__.py",
        'times(c["active"], c["window_days"])',
        'times(c["active"], DAY)',
        "revenue per window is multiplied by days",
    ),
    Mistake(
        "value-below-zero-active",
        "formulas.py",
        "is_there = bottom > 0",
        "is_there = bottom != 0",
        "fewer than none active give a churn",
    ),
)


HEALTH: Final = (
    Mistake(
        "latest-by-arrival",
        "topics/signal.py",
        "& (occurred >= last))",
        "& (occurred + (1 << 50) >= last))",
        "an old signal that comes late replaces the new one",
    ),
    Mistake(
        "first-of-one-moment",
        "topics/signal.py",
        "& (occurred >= last))",
        "& (occurred > last))",
        "of two signals of one moment the earlier arrival stays",
    ),
    Mistake(
        "weights-ignored",
        "signals.py",
        "weights[signals == signal] = weight",
        "weights[signals == signal] = float(weight != 0)",
        "all signals weigh the same",
    ),
    Mistake(
        "weight-zero-is-there",
        "signals.py",
        "slots, weights = slots[weights != 0], weights[weights != 0]",
        "slots, weights = slots[weights >= 0], weights[weights >= 0]",
        "customers with signals of no weight alone are counted",
    ),
    Mistake(
        "at-risk-up-to-forty",
        "signals.py",
        "at_risk = means < AT_RISK_BELOW * FIXED",
        "at_risk = means <= AT_RISK_BELOW * FIXED",
        "a score of exactly 40 is at risk",
    ),
    Mistake(
        "signals-beyond-the-window",
        "signals.py",
        "slots = slots[(times >= window.start(at)) & (times < end)]",
        "slots = slots[times < end]",
        "customers stay healthy for as long as they are remembered",
    ),
)
