"""Mistakes about time, outcomes, orphans and what is behind them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.mistake import Mistake

TIME: Final = (
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
        "kept: Mask = panes >= window.first_pane(at - GRACE_MS)",
        "kept: Mask = panes >= window.first_pane(at) + 1",
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


OUTCOMES: Final = (
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
        "                self._index.setdefault(segment, row)\n",
        "                self._index.setdefault(segment, 0)\n",
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


STRAYS: Final = (
    Mistake(
        "update-before-its-answer",
        "intake.py",
        "founded = known[starts] | ~may_be[own[starts]]",
        "founded = np.ones(starts.size, dtype=bool)",
        "an update that no answer came before is no orphan",
    ),
    Mistake(
        "refused-answers-found",
        "intake.py",
        "certain = (counts == 1) | ~np.logical_or.reduceat(batch.in_doubt[own], starts)",
        "certain = np.ones(starts.size, dtype=bool)",
        "an update of an answer that was refused is no orphan",
    ),
    Mistake(
        "no-reach-within-a-batch",
        "intake.py",
        "founded & certain & (latest - earliest <= reference.reach_ms)",
        "founded & certain",
        "an update of a batch may be any time after its answer",
    ),
)
