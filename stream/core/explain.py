"""Why a value is what it is: what it is made of, which segments weigh, what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.core.evaluate import Evaluator, Inputs, Share
from stream.core.kpi import CONSTANT, OVERLAPPING, Kpi, Move
from stream.core.series import LabelPairs, rollup_of
from stream.core.settings import Rule, Window
from stream.core.worked import worked

#: More of a kind than this is never, for all that anybody cares.
_MOST: Final = 10**9
#: Values so near to each other are the same but for rounding.
_ROUNDING: Final = 1e-9
#: So much of the largest of some numbers is what rounding them can come to.
_PRECISION: Final = 1e-12
#: By the unit, how far apart the values are that people tell from each other; else 1.
STEPS: Final[Mapping[str, float]] = {"ratio": 0.01}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Value, bounds, numerator and denominator; None for what is absent."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    numerator: float | None = None
    denominator: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of the whole: the sub-series of one more label, or what lacks that label (None).

    ``share`` is its share of the denominator (or of the count), ``adds`` what it adds to the value:
    over parts that make up the whole, shares sum to 1 and ``adds`` to the value. ``without`` is the
    value of all the others, ``effect`` the value minus that. Each is None where it has no meaning.
    """

    label: str
    name: str | None
    numbers: Numbers
    share: float | None
    adds: float | None
    without: float | None
    effect: float | None
    #: Whether what is in this part may be in others too.
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class OneMore:
    """What one more of a kind would make of the value."""

    move: Move
    value: float


@dataclass(frozen=True, slots=True)
class Target:
    """A value to come to: the next step (no rule), or the threshold of a rule."""

    value: float
    #: 1 for upwards, −1 for downwards.
    side: int
    rule: Rule | None = None
    #: Whether the rule's threshold is passed already, so that the way leads back.
    back: bool = False

    def is_reached(self, numbers: Numbers) -> bool:
        """Whether the numbers are there: at the value, or beyond it where a rule asks for that."""
        value = numbers.value
        if self.rule is not None and self.rule.significant:
            # Above a threshold the whole interval is when its lower end is.
            bound = numbers.lower if (self.side > 0) != self.back else numbers.upper
            value = value if bound is None else bound
        if value is None:
            return False
        gap = self.side * (value - self.value)
        return gap >= -_ROUNDING if self.rule is None or self.back else gap > _ROUNDING


@dataclass(frozen=True, slots=True)
class Reached:
    """What brings the value to a target: so many more of a kind, or a change of the numerator."""

    target: Target
    count: float
    #: None: the numerator changes by ``count`` while the denominator stays.
    move: Move | None


def numbers_of(kpi: Kpi, columns: Mapping[str, float]) -> Numbers:
    """What sums of columns make of a KPI."""
    return Numbers(*worked(kpi, columns))


def parts(
    evaluator: Evaluator, shares: Sequence[Share], at: int, window: Window, kpi: Kpi, whole: Inputs
) -> dict[str, list[Part]]:
    """The segments by each dimension that the series' labels leave open, the weightiest first."""
    labels = whole.sample.labels
    given = rollup_of(labels)
    found: dict[str, list[Part]] = {}
    for name in evaluator.settings.dimensions:
        if name in given:
            continue
        inside = [
            (value, inputs)
            for inputs in evaluator.inputs(shares, at, window, (*given, name), kpi)
            if (value := _within(inputs.sample.labels, labels, name)) is not None
        ]
        if inside and (weighed := _weighed(kpi, name, inside, whole)):
            found[name] = weighed
    return found


def _within(labels: LabelPairs, outer: LabelPairs, name: str) -> str | None:
    """The value of ``name`` among labels that hold all the outer ones; None where they do not."""
    return dict(labels).get(name) if set(outer) <= set(labels) else None


def _weighed(
    kpi: Kpi, label: str, inside: Sequence[tuple[str, Inputs]], whole: Inputs
) -> list[Part]:
    named: list[tuple[str | None, Mapping[str, float]]] = [(v, i.columns) for v, i in inside]
    if not _overlaps(kpi):
        rest = _minus(whole.columns, *(columns for _, columns in named))
        if any(rest[t.column] for t in kpi.terms if t.column not in CONSTANT):
            named.append((None, rest))
    made = [_part(kpi, label, name, columns, whole.columns) for name, columns in named]
    # A segment without a value still adds where it has a numerator alone, as in churn.
    kept = [p for p in made if p.numbers.value is not None or p.share or p.adds]
    return sorted(kept, key=lambda p: (-abs(p.effect or 0), -(p.share or 0), p.name or ""))


def _part(
    kpi: Kpi, label: str, name: str | None, columns: Mapping[str, float], whole: Mapping[str, float]
) -> Part:
    numbers, all_of_it = numbers_of(kpi, columns), numbers_of(kpi, whole)
    share = adds = None
    if all_of_it.denominator:
        share = (numbers.denominator or 0) / all_of_it.denominator
        adds = kpi.scale * (numbers.numerator or 0) / all_of_it.denominator
    elif len(kpi.terms) == 1 and all_of_it.value:
        adds = numbers.value or 0
        share = adds / all_of_it.value
    if _overlaps(kpi):
        return Part(label, name, numbers, share, None, None, None, overlaps=True)
    without = numbers_of(kpi, _minus(whole, columns)).value
    effect = None
    if without is not None and all_of_it.value is not None:
        effect = all_of_it.value - without
    return Part(label, name, numbers, share, adds, without, effect)


def _overlaps(kpi: Kpi) -> bool:
    return any(term.column in OVERLAPPING for term in kpi.terms)


def _minus(whole: Mapping[str, float], *taken: Mapping[str, float]) -> dict[str, float]:
    return {
        name: x if name in CONSTANT else _left(x, [columns[name] for columns in taken])
        for name, x in whole.items()
    }


def _left(whole: float, taken: Sequence[float]) -> float:
    """What is left of a sum; 0 where it is no more than rounding: exact sums of large amounts have
    no exact floats.
    """
    left = math.fsum([whole, *(-x for x in taken)])
    noise = max(_ROUNDING, _PRECISION * max(map(abs, (whole, *taken))))
    return left if abs(left) > noise else 0.0


def one_more(kpi: Kpi, columns: Mapping[str, float]) -> list[OneMore]:
    """What one more of each kind would make of the value."""
    found = ((move, _after(kpi, columns, move, 1).value) for move in kpi.moves)
    return [OneMore(move, value) for move, value in found if value is not None]


def reached(kpi: Kpi, columns: Mapping[str, float], rules: Sequence[Rule] = ()) -> list[Reached]:
    """The least that brings the value to the next step up and down, and past or back from rules."""
    numbers = numbers_of(kpi, columns)
    if numbers.value is None:
        return []
    found: list[Reached] = []
    for target in (*_steps(kpi, numbers.value), *_thresholds(numbers, rules)):
        counts = ((_count(kpi, columns, move, target), move) for move in kpi.moves)
        best = min(((n, m) for n, m in counts if n is not None), default=None)
        if best is not None:
            found.append(Reached(target, *best))
        elif not kpi.moves and numbers.denominator and target.rule is not None:
            change = (target.value - numbers.value) * numbers.denominator / kpi.scale
            found.append(Reached(target, change, None))
    return found


def _steps(kpi: Kpi, value: float) -> Iterator[Target]:
    """The next values, up and down, that people tell from this one."""
    step = STEPS.get(kpi.unit, 1.0)
    for side in (1, -1):
        # A value that is a step already, but for rounding, goes to the next one.
        steps = side * value / step
        target = float(round(side * step * (np.floor(steps + _ROUNDING) + 1), 9))
        low = -np.inf if kpi.lowest is None else kpi.lowest
        high = np.inf if kpi.highest is None else kpi.highest
        if low <= target <= high:
            yield Target(target, side)


def _thresholds(numbers: Numbers, rules: Sequence[Rule]) -> Iterator[Target]:
    for rule in rules:
        limit, side = (rule.above, 1) if rule.above is not None else (rule.below, -1)
        if limit is not None:
            beyond = Target(limit, side, rule).is_reached(numbers)
            yield Target(limit, -side, rule, back=True) if beyond else Target(limit, side, rule)


def _count(kpi: Kpi, columns: Mapping[str, float], move: Move, target: Target) -> int | None:
    """The least number of moves that bring the value to the target; None where none does.

    A value goes steadily towards that of the move alone, so the number can be halved for.
    """

    def is_there(count: int) -> bool:
        return target.is_reached(_after(kpi, columns, move, count))

    high = 1
    while not is_there(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_there(middle) else (middle, high)
    return high


def _after(kpi: Kpi, columns: Mapping[str, float], move: Move, count: int) -> Numbers:
    return numbers_of(kpi, {n: x + count * (n in move.adds) for n, x in columns.items()})
