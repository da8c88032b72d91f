"""Mistakes about error bounds, labels, sums and the state."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.mistake import Mistake

BOUNDS: Final = (
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


LABELS: Final = (
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
        "lost-values-not-claimed",
        "values.py",
        "self.undecided[dimension] = lost | self.undecided[dimension]",
        "self.undecided[dimension] = self.undecided[dimension]",
        "what counted by values that the registry has lost becomes other",
    ),
    Mistake(
        "absent-label-is-other",
        "groups.py",
        "            if value is None:\n                return -1\n",
        '            if value is None:\n                value = "other"\n',
        "events without a label of a rollup are in it",
    ),
)


SUMS: Final = (
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
        "a-log-that-was-cut-is-whole",
        "parts.py",
        "self.beat.mark != self._contents.mark",
        "False",
        "of a log of shares that was made anew a part is shown as the total",
    ),
    Mistake(
        "aged-panes-stay-in-the-sum",
        "parts.py",
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
    Mistake(
        "what-moved-is-in-two-blocks",
        "memory.py",
        "        if moved.size:\n",
        "        if not moved.size:\n",
        "after two restarts subscriptions are active that were cancelled long ago",
    ),
    Mistake(
        "what-went-comes-back",
        "memory.py",
        "                self._take_out(keys[inside])\n",
        "                continue\n",
        "after a pause and a restart subscriptions are active that were cancelled",
    ),
    Mistake(
        "what-came-and-went-comes-back",
        "memory.py",
        "            for part in self._parts(gone[changed[gone]]):\n",
        "            for part in self._parts(gone[:0]):\n",
        "at the limit cancelled subscriptions are active after a restart",
    ),
    Mistake(
        "abandoned-under-any-time-out",
        "topics/cart/carts.py",
        "        as_now = (abandoned == NEVER) | (abandoned == deadlines)\n",
        "        as_now = np.ones(some.size, dtype=bool)\n",
        "after the time-out was changed a cart that is bought stays abandoned where it was",
    ),
    Mistake(
        "the-last-room-is-anybody-s",
        "segments.py",
        "return room <= segments if room > 0 else self._may_free(until)",
        "return False",
        "who gets the last segment depends on how records are cut into batches",
    ),
    Mistake(
        "refused-elsewhere-in-a-first-batch",
        "intake.py",
        "refused.append(refusal._replace(place=refusal.place + head))",
        "refused.append(refusal)",
        "dead letters of the first records after a start are of other records",
    ),
)
