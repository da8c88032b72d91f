"""The difference of a value from its reference, taken apart by sub-series into mix and rate.

A ratio V = Σ wᵢ·vᵢ over sub-series of value vᵢ and share wᵢ of the denominator. Its difference from
before, V₁ − V₀, is the sum over i of

- rate: (wᵢ₀ + wᵢ₁)/2 · (vᵢ₁ − vᵢ₀), what comes from the sub-series' own value, and
- mix: (wᵢ₁ − wᵢ₀) · ((vᵢ₀ + vᵢ₁)/2 − (V₀ + V₁)/2), what comes from its share of the whole.

Source: E. M. Kitagawa, Components of a Difference Between Two Rates, Journal of the American
Statistical Association 50 (1955), 1168-1194; averages of both times leave no interaction term.
Since Σ wᵢ is 1 at both times, mix can be measured from the average of V₀ and V₁: a sub-series that
grows moves the whole only as far as it differs from it. A sub-series that comes or goes has no
value on one side: all that it moves is mix.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stream.core.alerts.change import Contributor, Rest
from stream.core.series import LabelPairs, Sample

#: How many contributors a change names.
MOST_CONTRIBUTORS = 5


class Before(NamedTuple):
    """What a value is compared with: another sample × ``scale``, or a number that all had."""

    value: float
    sample: Sample | None = None
    scale: float = 1.0


class Effect(NamedTuple):
    """What one sub-series adds to the difference; without labels: all that is in none of them."""

    labels: LabelPairs | None
    mix: float
    rate: float
    now: Sample | None = None
    before: Sample | None = None

    @property
    def contribution(self) -> float:
        """Mix and rate together."""
        return self.mix + self.rate


class _Cell(NamedTuple):
    """Numerator, in units of the value × denominator, and denominator."""

    numerator: float
    denominator: float

    @property
    def value(self) -> float | None:
        """None where there is nothing to divide by."""
        return self.numerator / self.denominator if self.denominator > 0 else None


def effects(
    whole: Sample,
    before: Before,
    now: Mapping[LabelPairs, Sample],
    then: Mapping[LabelPairs, Sample],
    unit: float,
) -> list[Effect]:
    """The effects of all sub-series and of what is in none of them; they sum to the difference.

    ``now`` and ``then`` are the sub-series at both times, ``unit`` is the KPI's value for a
    numerator of 1 and a denominator of 1. A sample without denominator is a count.
    """
    if whole.value is None:
        return []
    if whole.denominator is None:
        return _of_counts(whole, before, now, then)
    labels = sorted({*now, *then})
    cells_now = [_cell(now.get(one), unit) for one in labels]
    all_now = _cell(whole, unit)
    cells_now.append(_remainder(all_now, cells_now))
    if before.sample is None:
        return [
            Effect(one, 0.0, _from_number(cell, all_now, before.value), now.get(one or ()))
            for one, cell in zip([*labels, None], cells_now, strict=True)
        ]
    cells_then = [_cell(then.get(one), unit * before.scale) for one in labels]
    all_then = _cell(before.sample, unit * before.scale)
    cells_then.append(_remainder(all_then, cells_then))
    found = []
    for one, cell, former in zip([*labels, None], cells_now, cells_then, strict=True):
        mix, rate = _of_ratio(cell, former, all_now, all_then)
        known = () if one is None else one
        found.append(Effect(one, mix, rate, now.get(known), then.get(known)))
    return found


def _cell(sample: Sample | None, unit: float) -> _Cell:
    if sample is None:
        return _Cell(0.0, 0.0)
    return _Cell(unit * (sample.numerator or 0.0), sample.denominator or 0.0)


def _remainder(whole: _Cell, parts: Sequence[_Cell]) -> _Cell:
    return _Cell(
        whole.numerator - math.fsum(part.numerator for part in parts),
        whole.denominator - math.fsum(part.denominator for part in parts),
    )


def _from_number(cell: _Cell, whole: _Cell, number: float) -> float:
    return (cell.numerator - number * cell.denominator) / whole.denominator


def _of_ratio(now: _Cell, then: _Cell, all_now: _Cell, all_then: _Cell) -> tuple[float, float]:
    """Mix and rate. Their sum holds for any numbers, also where a value or a share is negative."""
    middle = (
        all_now.numerator / all_now.denominator + all_then.numerator / all_then.denominator
    ) / 2
    share_now = now.denominator / all_now.denominator
    share_then = then.denominator / all_then.denominator
    if now.value is not None and then.value is not None:
        rate = (share_now + share_then) / 2 * (now.value - then.value)
        return (share_now - share_then) * ((now.value + then.value) / 2 - middle), rate
    moved = now.numerator / all_now.denominator - then.numerator / all_then.denominator
    return moved - middle * (share_now - share_then), 0.0


def _of_counts(
    whole: Sample,
    before: Before,
    now: Mapping[LabelPairs, Sample],
    then: Mapping[LabelPairs, Sample],
) -> list[Effect]:
    """Of a count, each sub-series adds the difference of its own count: all of it is rate."""
    found = []
    for labels in sorted({*now, *then}):
        own, former = now.get(labels), then.get(labels)
        moved = _count(own) - before.scale * (_count(former) if before.sample else 0.0)
        found.append(Effect(labels, 0.0, moved, own, former))
    left = _count(whole) - before.value - math.fsum(effect.rate for effect in found)
    return [*found, Effect(None, 0.0, left)]


def _count(sample: Sample | None) -> float:
    return 0.0 if sample is None or sample.value is None else sample.value


def most_telling(candidates: Iterable[Sequence[Effect]], whole: Sample) -> Sequence[Effect]:
    """Of several ways to take a difference apart, the one whose sub-series stand out the most.

    A sub-series stands out by what it moved beyond its share of the whole: where all moved alike,
    none does. The first wins a tie.
    """
    return max(candidates, key=lambda effects: _stands_out(effects, whole), default=())


def _stands_out(effects: Sequence[Effect], whole: Sample) -> float:
    difference = math.fsum(effect.contribution for effect in effects)
    sign = -1.0 if difference < 0 else 1.0
    own = (
        sign * (e.contribution - (_share(e.now, whole) or 0.0) * difference)
        for e in effects
        if e.labels is not None
    )
    return max(own, default=0.0)


def _share(part: Sample | None, whole: Sample | None) -> float | None:
    if whole is None or not whole.denominator:
        return None
    return 0.0 if part is None else (part.denominator or 0.0) / whole.denominator


def listed(
    effects: Sequence[Effect], whole: Sample, before: Before
) -> tuple[tuple[Contributor, ...], Rest | None]:
    """The sub-series that moved the value most, and the rest of the difference.

    Those that moved it in the direction of the difference come first, the strongest at the top;
    then those that held against it, the strongest last.
    """
    parts = [effect for effect in effects if effect.labels is not None]
    if not parts:
        return (), None
    sign = -1.0 if math.fsum(effect.contribution for effect in effects) < 0 else 1.0
    strongest = sorted(
        (effect for effect in parts if effect.contribution),
        key=lambda effect: (-abs(effect.contribution), effect.labels),
    )[:MOST_CONTRIBUTORS]
    strongest.sort(key=lambda effect: (-sign * effect.contribution, effect.labels))
    named = {effect.labels for effect in strongest}
    others = [effect for effect in effects if effect.labels not in named]
    mix, rate = (math.fsum(getattr(e, kind) for e in others) for kind in ("mix", "rate"))
    rest = Rest(mix + rate, mix, rate, sum(effect.labels is not None for effect in others))
    return tuple(_contributor(effect, whole, before) for effect in strongest), rest


def _contributor(effect: Effect, whole: Sample, before: Before) -> Contributor:
    now, then = effect.now, effect.before
    former = None if then is None or then.value is None else then.value * before.scale
    return Contributor(
        dict(effect.labels or ()),
        effect.contribution,
        now.value if now else None,
        now.numerator if now else None,
        now.denominator if now else None,
        effect.mix,
        effect.rate,
        former,
        _share(now, whole),
        _share(then, before.sample),
    )
