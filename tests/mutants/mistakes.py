"""The mistakes, as data: what becomes of one piece of the core's source, and why it matters.

Each piece stands exactly once in its file; a test says so, for a mistake must not fall silent when
the core changes. They are made in a copy of the package, never in the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mistake:
    """In ``file`` of ``stream/core``, ``old`` becomes ``new``; ``harm`` says what goes wrong."""

    name: str
    file: str
    old: str
    new: str
    harm: str


class DoesNotApply(Exception):
    """The source that a mistake changes is not there exactly once."""


def changed(mistake: Mistake, source: str) -> str:
    """The source with the mistake in it.

    Raises:
        DoesNotApply: the core has changed; so must the mistake.
    """
    if source.count(mistake.old) != 1:
        raise DoesNotApply(f"{mistake.name}: {mistake.file} has it {source.count(mistake.old)}×")
    return source.replace(mistake.old, mistake.new)


_TIME: Final = (
    Mistake(
        "window-a-pane-short",
        "settings.py",
        "at // self.pane_ms - self.panes + 1",
        "at // self.pane_ms - self.panes + 2",
        "the oldest pane of every window is left out",
    ),
    Mistake(
        "window-a-pane-long",
        "settings.py",
        "at // self.pane_ms - self.panes + 1",
        "at // self.pane_ms - self.panes",
        "panes age out a pane too late",
    ),
    Mistake(
        "newest-pane-left-out",
        "evaluate.py",
        "first, last = window.first_pane(at), at // window.pane_ms\n",
        "first, last = window.first_pane(at), at // window.pane_ms - 1\n",
        "what happens shows only when its pane is over",
    ),
    Mistake(
        "unit-of-the-shortest-pane",
        "tally.py",
        "reduce(math.gcd, (w.pane_ms for w in windows))",
        "reduce(min, (w.pane_ms for w in windows))",
        "windows whose panes are no multiples of each other share wrong edges",
    ),
    Mistake(
        "panes-dropped-early",
        "tally.py",
        "drop_before(window.first_pane(at - GRACE_MS))",
        "drop_before(window.first_pane(at) + 1)",
        "the oldest pane is forgotten while it counts",
    ),
    Mistake(
        "too-old-for-one-is-too-old-for-all",
        "tally.py",
        "kept = panes >= window.first_pane(at - GRACE_MS)",
        "kept = panes >= window.first_pane(at) + 1",
        "events that arrive late add nothing to the oldest pane",
    ),
    Mistake(
        "late-by-either-rule",
        "settings.py",
        "return min(oldest, at - SHORTEST_MEMORY)",
        "return max(oldest, at - SHORTEST_MEMORY)",
        "events older than the windows, or than seven days, are late though the other rule spares",
    ),
    Mistake(
        "hours-that-there-are-not",
        "timestamps.py",
        "if clock.min() < 0 or clock.max() >= DAY:",
        "if clock.min() < 0:",
        "events with an hour beyond 23 are accepted and count on the next day",
    ),
    Mistake(
        "all-of-one-century",
        "timestamps.py",
        "if (dates[:, :2] != dates[0, :2]).any():",
        "if False:",
        "events of two centuries that come together count in one of them",
    ),
    Mistake(
        "offset-the-wrong-way",
        "timestamps.py",
        'at += offset if text[-6] == "-" else -offset',
        'at += -offset if text[-6] == "-" else offset',
        "events with an offset count hours off",
    ),
)

_OUTCOMES: Final = (
    Mistake(
        "dedupe-exclusive",
        "dedupe.py",
        "return clock - arrived <= self._dedupe_ms",
        "return clock - arrived < self._dedupe_ms",
        "an id that comes again exactly dedupe later counts twice",
    ),
    Mistake(
        "ids-forgotten-early",
        "dedupe.py",
        "return (clock - self._dedupe_ms) // MINUTE",
        "return (clock - self._dedupe_ms) // MINUTE + 1",
        "ids are forgotten up to a minute before their time",
    ),
    Mistake(
        "ids-not-written",
        "dedupe.py",
        "keys, clocks = keys[kept:], clocks[kept:]",
        "keys, clocks = keys[kept + 1 :], clocks[kept + 1 :]",
        "the first id of a batch that is to be remembered is not",
    ),
    Mistake(
        "segments-unnamed",
        "segments.py",
        "self._unwritten.add(row)",
        "self._unwritten.discard(row)",
        "what a row stands for is lost in a recovery from changes alone",
    ),
    Mistake(
        "a-piece-of-a-pane-lost",
        "cells.py",
        "self._lately.append((low, values))",
        "self._lately = [(low, values)]",
        "of what was added to a pane since it was last looked at only the last piece counts",
    ),
    Mistake(
        "pieces-that-cancel-out-too-large",
        "cells.py",
        "if self._most >= SUM_LIMIT:",
        "if False:",
        "a sum beyond the range is noticed late, one within it is refused",
    ),
    Mistake(
        "a-segment-lost-by-a-recovery",
        "segments.py",
        "self._index.setdefault(segment, row)\n        self._values.free_unused(at)",
        "self._index.setdefault(segment, 0)\n        self._values.free_unused(at)",
        "a segment gets a second row after a recovery",
    ),
    Mistake(
        "currencies-without-room-in-one-sum",
        "segments.py",
        "return (*values, None)",
        "return (*values, OTHER)",
        "amounts of several currencies are added up",
    ),
    Mistake(
        "rows-known-by-labels-outlive-them",
        "segments.py",
        "        self._by_number.fill(-1)\n",
        "",
        "what is counted under labels of long ago goes to the row that another has now",
    ),
    Mistake(
        "numbers-of-another-batch",
        "segments.py",
        "if self._sets is not sets:",
        "if not self._sets:",
        "labels that are numbered anew count as those that had their numbers before",
    ),
    Mistake(
        "repeats-of-a-batch-unnoticed",
        "integers.py",
        "in_order = np.sort(digests[np.bincount(bits).take(bits) > 1])",
        "in_order = np.sort(digests[np.bincount(bits).take(bits) > 2])",
        "an event that comes twice in a batch counts twice",
    ),
    Mistake(
        "large-numbers-cut",
        "packed.py",
        "escaped = (small != numbers) | (small == _ESCAPE)",
        "escaped = small == _ESCAPE",
        "counters beyond two bytes are written wrongly",
    ),
    Mistake(
        "future-exclusive",
        "intake.py",
        "FUTURE_MS: Final = MINUTE",
        "FUTURE_MS: Final = MINUTE - 1",
        "an event exactly 60 s ahead is refused",
    ),
    Mistake(
        "pieces-in-one-place",
        "batch.py",
        "moved = group._replace(places=group.places + offset)",
        "moved = group",
        "what records of a later piece say is taken for what those of the first one say",
    ),
    Mistake(
        "refused-in-another-place",
        "batch.py",
        "for place, event in enumerate(decoded.events, first):",
        "for place, event in enumerate(decoded.events):",
        "other records than the invalid ones go to the dead letters",
    ),
    Mistake(
        "bases-may-be-late",
        "topics/subscription/events.py",
        'EventType(SubscriptionBase, key="labels", never_late=True)',
        'EventType(SubscriptionBase, key="labels")',
        "a base of long ago is refused, and churn has no denominator",
    ),
    Mistake(
        "duplicates-by-the-clock-of-the-topic-in-replay",
        "intake.py",
        "arrivals = batch.at[places] if self._event_time else clocks",
        "arrivals = clocks",
        "in replay an id is remembered by another time than it is asked for by",
    ),
)

_SURVEYS: Final = (
    Mistake(
        "promoters-above-nine",
        "topics/survey/opinions.py",
        "if 10 * score >= 9 * high:",
        "if 10 * score > 9 * high:",
        "a score of exactly nine is no promoter",
    ),
    Mistake(
        "detractors-up-to-seven",
        "topics/survey/opinions.py",
        "elif 10 * score < 7 * high:",
        "elif 10 * score <= 7 * high:",
        "a score of exactly seven is a detractor",
    ),
    Mistake(
        "nps-from-the-scale-s-minimum",
        "topics/survey/opinions.py",
        "if 10 * score >= 9 * high:",
        "if 10 * (score - low) >= 9 * (high - low):",
        "promoters on scales that don't begin at 0 are others",
    ),
    Mistake(
        "satisfied-above-four",
        "topics/survey/opinions.py",
        "if of * (score - low) >= needed * (high - low):",
        "if of * (score - low) > needed * (high - low):",
        "a four of five is not satisfied",
    ),
    Mistake(
        "effort-off-by-one",
        "topics/survey/opinions.py",
        "return fixed(1 + 6 * (score - low)",
        "return fixed(6 * (score - low)",
        "the mean effort is one too low",
    ),
    Mistake(
        "edit-in-its-own-pane",
        "topics/survey/answers.py",
        "self.tally.add(first, row, self._added(opinion, emotions))",
        "self.tally.add(occurred, row, self._added(opinion, emotions))",
        "an edited answer moves to the pane of the edit",
    ),
    Mistake(
        "edit-not-taken-back",
        "topics/survey/answers.py",
        "self._count(first[known], **former, sign=-1)",
        "self._count(first[known], **former, sign=0)",
        "an edited answer counts twice",
    ),
    Mistake(
        "answers-forgotten-early",
        "topics/survey/answers.py",
        "abs(occurred - known[LAST]) <= self._memory_ms else None",
        "abs(occurred - known[LAST]) < self._memory_ms else None",
        "an edit exactly at the end of the memory is an orphan",
    ),
    Mistake(
        "emotions-case-sensitive",
        "topics/survey/opinions.py",
        "if name.casefold() in settings.positive_emotions:",
        "if name in settings.positive_emotions:",
        "Happy is no emotion",
    ),
    Mistake(
        "intensities-without-minimum",
        "topics/survey/opinions.py",
        "on_ten = fixed(10 * (intensity - low) / (high - low))",
        "on_ten = fixed(10 * intensity / high)",
        "intensities on scales that don't begin at 0 are too high",
    ),
    Mistake(
        "sentiment-of-answers-forgotten",
        "topics/survey/answers.py",
        '("sentiments", said * sign),',
        '("sentiments", said * max(sign, 0)),',
        "edited answers stay in the denominator of the sentiment",
    ),
)

_TICKETS: Final = (
    Mistake(
        "seven-days-exclusive",
        "topics/ticket/tickets.py",
        "return known is not None and abs(occurred - known.closed_at) <= CLOSE_MEMORY_MS",
        "return known is not None and abs(occurred - known.closed_at) < CLOSE_MEMORY_MS",
        "a reopening exactly seven days later is an orphan",
    ),
    Mistake(
        "old-reopening-counts",
        "topics/ticket/tickets.py",
        "if known is None or occurred < known.closed_at:",
        "if known is None:",
        "a reopening from before the close takes it back",
    ),
    Mistake(
        "second-close-adds",
        "topics/ticket/tickets.py",
        "                self._take_back(known)\n                reopened_at = known.reopened_at",
        "                reopened_at = known.reopened_at",
        "a ticket that is closed twice counts twice",
    ),
    Mistake(
        "reopening-takes-nothing-back",
        "topics/ticket/tickets.py",
        "            return\n        self._take_back(known)\n",
        "            return\n",
        "a reopened ticket stays resolved",
    ),
    Mistake(
        "first-contact-after-a-reopening",
        "topics/ticket/closes.py",
        "and not ticket.reopens and not reopened:",
        "and not ticket.reopens:",
        "a ticket that was opened again is a first contact",
    ),
    Mistake(
        "negative-resolution-times",
        "topics/ticket/tickets.py",
        "time = np.maximum(0, lasted[chosen] * PER_MS - fixed_columns(excluded[chosen]))",
        "time = lasted[chosen] * PER_MS - fixed_columns(excluded[chosen])",
        "more excluded time than there was lowers the mean below zero",
    ),
    Mistake(
        "unresolved-counted",
        "topics/ticket/tickets.py",
        "return bits | resolved * said.resolved",
        "return bits | resolved",
        "the denominator covers tickets that are not resolved",
    ),
    Mistake(
        "rapid-resolution-exclusive",
        "topics/ticket/tickets.py",
        "rapid = time <= self.settings.rapid_resolution_ms * PER_MS",
        "rapid = time < self.settings.rapid_resolution_ms * PER_MS",
        "a resolution exactly in time is too late",
    ),
    Mistake(
        "rapid-response-exclusive",
        "topics/ticket/tickets.py",
        "said.response_ms <= self.settings.rapid_response_ms",
        "said.response_ms < self.settings.rapid_response_ms",
        "a response exactly in time is too late",
    ),
    Mistake(
        "quantile-rank-off-by-one",
        "quantiles.py",
        'np.searchsorted(cumulative, before + ranks, side="right")',
        'np.searchsorted(cumulative, before + ranks, side="left")',
        "quantiles are those of the ticket below",
    ),
    Mistake(
        "coarse-buckets",
        "quantiles.py",
        "RELATIVE_ERROR = 0.01",
        "RELATIVE_ERROR = 0.04",
        "quantiles are off by more than 1%",
    ),
)

_CARTS: Final = (
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
        "self.tally.add_columns(deadlines, rows, self.layout.parts(counts))",
        "self.tally.add_columns(deadlines - self._timeout_ms, rows, self.layout.parts(counts))",
        "abandonments count before they happen",
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
        "if len(lives) == 1 and abs(occurred - lives[0].last) <= self._memory_ms:",
        "if len(lives) == 1:",
        "a cart id of long ago is the same cart",
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

_SUBSCRIPTIONS: Final = (
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
        'return c["active"] - (c["cancelled"] - c["cancelled_since"])',
        'return c["active"] - c["cancelled"]',
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
        'amount = np.where(c["payments"] > 0, c["amount"], np.nan)',
        'amount = c["amount"]',
        "a currency without payments in the window has a value of 0",
    ),
    Mistake(
        "lifetime-value-per-window",
        "topics/subscription/__init__.py",
        'revenue = divided(amount, c["active"]) / c["window_days"]',
        'revenue = divided(amount, c["active"])',
        "revenue per window is multiplied by days",
    ),
    Mistake(
        "value-below-zero-active",
        "formulas.py",
        "return np.where(denominator > 0,",
        "return np.where(denominator != 0,",
        "fewer than none active give a churn",
    ),
)

_HEALTH: Final = (
    Mistake(
        "latest-by-arrival",
        "topics/signal.py",
        "newer = newer[occurred[newer] >=",
        "newer = newer[occurred[newer] + (1 << 50) >=",
        "an old signal that comes late replaces the new one",
    ),
    Mistake(
        "first-of-one-moment",
        "topics/signal.py",
        "newer = newer[occurred[newer] >=",
        "newer = newer[occurred[newer] >",
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
        "health.py",
        "series[fixed < AT_RISK_BELOW * FIXED]",
        "series[fixed <= AT_RISK_BELOW * FIXED]",
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

_BOUNDS: Final = (
    Mistake(
        "rounded-z",
        "bounds.py",
        "Z = 1.959964",
        "Z = 1.96",
        "bounds are of another confidence than is said",
    ),
    Mistake(
        "wilson-without-correction",
        "bounds.py",
        "middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)",
        "middle = p / (1 + Z**2 / n)",
        "bounds are not about the middle of the interval",
    ),
    Mistake(
        "no-bounds-of-one",
        "bounds.py",
        "valid = (n > 0) & (numerator >= 0)",
        "valid = (n > 1) & (numerator >= 0)",
        "a single contribution looks as sure as none",
    ),
    Mistake(
        "four-answers-more",
        "bounds.py",
        "n = answers + 3",
        "n = answers + 4",
        "the bounds of a promoter score are too narrow",
    ),
)

_LABELS: Final = (
    Mistake(
        "null-label-is-a-value",
        "labels.py",
        "return intern({k: v for k, v in values.items() if v is not None}) if",
        'return intern({k: v or "null" for k, v in values.items()}) if',
        "events without a label have one",
    ),
    Mistake(
        "not-folded",
        "values.py",
        "self._admits(i, value, at) else OTHER",
        "self._admits(i, value, at) else value",
        "as many series as there are values",
    ),
    Mistake(
        "one-value-too-many",
        "values.py",
        "return len(kept) >= self._limit or",
        "return len(kept) > self._limit or",
        "one value more than the limit has a place",
    ),
    Mistake(
        "places-never-free",
        "values.py",
        "stale = [v for v in kept if at - last.get(v, BEFORE_ALL) > memory]",
        "stale = [v for v in kept if at - last.get(v, BEFORE_ALL) > (1 << 62)]",
        "values of long ago keep new ones out",
    ),
    Mistake(
        "places-free-early",
        "values.py",
        "stale = [v for v in kept if at - last.get(v, BEFORE_ALL) > memory]",
        "stale = [v for v in kept if at - last.get(v, BEFORE_ALL) >= memory]",
        "a value loses its place at the last moment of its time",
    ),
    Mistake(
        "absent-label-is-other",
        "groups.py",
        "            if value is None:\n                return -1\n",
        '            if value is None:\n                value = "other"\n',
        "events without a label of a rollup are in it",
    ),
)

_SUMS: Final = (
    Mistake(
        "take-back-adds",
        "tally.py",
        "facts.append((units, low, -values))",
        "facts.append((units, low, values))",
        "what is taken back counts twice",
    ),
    Mistake(
        "a-shard-is-dropped",
        "merge.py",
        "shares.append(voice.current.share())",
        "shares[:] = [voice.current.share()]",
        "the total is that of one shard",
    ),
    Mistake(
        "aged-panes-stay-in-the-sum",
        "merge.py",
        "*(-v for _, v in gone)",
        "*(0 * v for _, v in gone)",
        "merged windows never age",
    ),
    Mistake(
        "another-shard-s-rows",
        "evaluate.py",
        "for share, numbers in zip(self.shares, self.maps, strict=True):\n            k, v",
        "for share, numbers in zip(self.shares, self.maps[::-1], strict=True):\n            k, v",
        "shards' numbers go to each other's series",
    ),
    Mistake(
        "log-forgets-tickets",
        "state.py",
        "if (parts := store.changes())\n",
        'if (parts := store.changes()) and name != "tickets"\n',
        "after a restart a reopening finds no ticket",
    ),
    Mistake(
        "nothing-made-anew-after-a-recovery",
        "state.py",
        "        self._shard.recovered()\n",
        "",
        "after a restart no cart is abandoned and no customer is healthy",
    ),
)

MISTAKES: Final = (
    *_TIME,
    *_OUTCOMES,
    *_SURVEYS,
    *_TICKETS,
    *_CARTS,
    *_SUBSCRIPTIONS,
    *_HEALTH,
    *_BOUNDS,
    *_LABELS,
    *_SUMS,
)
