"""Mistakes about a state under other settings, and about what shards tell each other."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.mistake import Mistake

CHANGES: Final = (
    Mistake(
        "starts-within-a-unit-of-time",
        "tally.py",
        "        self.unit_ms = math.gcd(self._whole_ms, *starts.values())\n",
        "        self.unit_ms = self._whole_ms\n",
        "a window that began lately takes back what it never counted, or counts too little",
    ),
    Mistake(
        "new-and-cancelled-by-the-start",
        "tally.py",
        "                if not of and window.label in self.starts:\n",
        "                if window.label in self.starts:\n",
        "in a window that was added, who came before that and left later counts as lost",
    ),
    Mistake(
        "new-and-cancelled-by-the-start-in-columns",
        "tally.py",
        "some: Mask = (times < start) & (start <= causes)",
        "some: Mask = (times < start) & (start > causes)",
        "in a window that was added, cancellations from before it count and later ones don't",
    ),
    Mistake(
        "filled-from-the-shortest",
        "shape.py",
        "            key=lambda w: (starts.get(w.label, BEFORE_ALL), w.size_ms, w.pane_ms),\n",
        "            key=lambda w: (w.size_ms, w.pane_ms),\n",
        "a new window is filled from one that began a moment ago",
    ),
    Mistake(
        "paused-for-ever",
        "topics/cart/lives.py",
        "rejoined(runs, timeout_ms), purchase)",
        "runs, purchase)",
        "a cart stays abandoned in a pause that a longer time-out bears",
    ),
    Mistake(
        "places-to-whoever-comes-first",
        "migration.py",
        "key=lambda told: (-told[2], told[0]))",
        "key=lambda told: told[2])",
        "values of a new dimension that nobody uses have the places",
    ),
    Mistake(
        "rows-for-segments",
        "segments.py",
        "        return len(self._index)\n",
        "        return len(self.rows) - len(self._free)\n",
        "what is one segment now takes the room of all that it was",
    ),
    Mistake(
        "rows-without-end",
        "segments.py",
        "        return min(self._limit - len(self), self._most_rows - rows)\n",
        "        return self._limit - len(self) + 0 * rows\n",
        "rows that mean the same grow without a bound",
    ),
    Mistake(
        "the-oldest-stands-for-all",
        "segments.py",
        "np.argsort(-self._seen[: len(self.rows)]",
        "np.argsort(self._seen[: len(self.rows)]",
        "after a restart a segment is looked for in a row that goes",
    ),
)

MERGED: Final = (
    Mistake(
        "coarse-while-a-base-may-be-elsewhere",
        "label_set.py",
        "        if self.bases or len(self) > _FEW:\n",
        "        if True:\n",
        "what came after a base in another partition counts as before it",
    ),
    Mistake(
        "untold-rows-in-the-sum",
        "parts.py",
        "        return self._row >= len(self.rows)\n",
        "        return False\n",
        "a sum is shown without labels that were not told",
    ),
    Mistake(
        "strangers-delete-from-ours",
        "merge.py",
        "                voice.latest = None\n",
        "",
        "what a worker of another configuration deletes goes from the sums",
    ),
    Mistake(
        "unread-for-ever",
        "merge.py",
        "            voice.unread = {key: life for",
        "            _ = {key: life for",
        "a family is absent until the owner restarts, though the shard has told all anew",
    ),
    Mistake(
        "damage-passed-over",
        "merge.py",
        "                voice.unread[key] = voice.latest\n",
        "                pass\n",
        "a sum is shown without what could not be read",
    ),
    Mistake(
        "ahead-by-a-minute",
        "merge.py",
        "LEAD_MS: Final = BEHIND_MS - SECOND\n",
        "LEAD_MS: Final = 60 * SECOND\n",
        "health is shown without a shard whose clock is ahead",
    ),
    Mistake(
        "health-of-the-former-life",
        "sharing.py",
        "            first = present - _behind(window) if is_new else present\n",
        "            first = present\n",
        "after a take-over the health of a part of the shards is shown",
    ),
)
