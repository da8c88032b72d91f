"""Explains one series of a replay: finds it, and gathers all that there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stream.core.catalogue import LAYOUT
from stream.core.errors import StopError
from stream.core.evaluate import Inputs, Wanted
from stream.core.explain import (
    Numbers,
    OneMore,
    Part,
    Reached,
    numbers_of,
    one_more,
    parts,
    reached,
)
from stream.core.kpi import DERIVED, Kpi
from stream.core.series import LabelPairs, rollup_of
from stream.core.settings import Rule, Settings, Window
from stream.core.timestamps import format_ms
from stream.replay.run import Replay

#: So many values of a label an error names.
_NAMED: Final = 8


class NoSuchSeries(StopError):
    """There is no series with these labels; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Next:
    """The first edge of a pane at which time alone has changed terms, and what comes of them."""

    at: int
    numbers: Numbers
    terms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that there is to say of a series at a time."""

    kpi: Kpi
    window: str
    at: int
    #: The first event ever counted (ms), and the part (0 to 1) of the window that lies behind it.
    first: int | None
    covered: float
    labels: Mapping[str, str]
    numbers: Numbers
    #: What stands for each term of the formula, by its words.
    terms: Mapping[str, float]
    quantiles: Mapping[str, float]
    outcomes: Mapping[str, int]
    #: Records that could not be read, and may have been of this topic or of any other.
    invalid: int
    #: Sub-series by the label that tells them apart.
    segments: Mapping[str, Sequence[Part]]
    one_more: Sequence[OneMore]
    reached: Sequence[Reached]
    next: Next | None

    @property
    def per_unit(self) -> float | None:
        """How much the value changes when the numerator grows by 1 and the denominator stays."""
        denominator = self.numbers.denominator
        return self.kpi.scale / denominator if denominator and denominator > 0 else None

    def data(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "kpi": self.kpi.id,
            "title": self.kpi.title,
            "unit": self.kpi.unit,
            "window": self.window,
            "at": format_ms(self.at),
            "covered": self.covered,
            "labels": dict(self.labels),
            **_data(self.numbers),
            "formula": self.kpi.formula,
            "worked": self.kpi.formula_with(lambda term: repr(self.terms[term.words])),
            "terms": [
                {
                    "term": term.words,
                    "counter": term.column,
                    "help": help_of(term.column),
                    "value": self.terms[term.words],
                }
                for term in self.kpi.terms
            ],
            "quantiles": dict(self.quantiles),
            "topic": self.kpi.topic,
            "outcomes": dict(self.outcomes),
            "invalid_of_any_topic": self.invalid,
            "segments": {name: [_part(p) for p in found] for name, found in self.segments.items()},
            "per_unit_of_numerator": self.per_unit,
            "one_more": [
                {"of": m.move.one, "value": m.value, "change": m.value - (self.numbers.value or 0)}
                for m in self.one_more
            ],
            "reached": [_reached(r) for r in self.reached],
            "next": None
            if self.next is None
            else {
                "at": format_ms(self.next.at),
                **_data(self.next.numbers),
                "terms": dict(self.next.terms),
            },
        }


def _data(numbers: Numbers) -> dict[str, float | None]:
    return {
        "value": numbers.value,
        "lower": numbers.lower,
        "upper": numbers.upper,
        "numerator": numbers.numerator,
        "denominator": numbers.denominator,
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        # A dimension may be called like any of the other keys.
        "labels": {part.label: part.name},
        **_data(part.numbers),
        "share": part.share,
        "adds": part.adds,
        "without": part.without,
        "effect": part.effect,
    }


def _reached(found: Reached) -> dict[str, Any]:
    target = found.target
    return {
        "target": target.value,
        "rule": None if target.rule is None else target.rule.name,
        "back": target.back,
        "more": found.count,
        "of": "numerator" if found.move is None else found.move.many,
    }


def help_of(column: str) -> str:
    """What a counter or a derived column holds."""
    return DERIVED[column] if column in DERIVED else LAYOUT.counters[column].help


def explain(
    run: Replay, settings: Settings, kpi: Kpi, window: Window, labels: Mapping[str, str], at: int
) -> Explanation:
    """Explain a series once all records were read. The run's time moves on with it.

    Raises:
        NoSuchSeries: the labels lead to none, or to several.
    """
    whole = _find(run, settings, kpi, window, labels, at)
    found = dict(whole.sample.labels)
    by = rollup_of(whole.sample.labels)
    rules = [r for r in settings.rules if _watches(r, kpi, window, by)]
    shares = run.shares(at)
    first = None if run.span is None else run.span[0]
    return Explanation(
        kpi=kpi,
        window=window.label,
        at=at,
        first=first,
        covered=window.covered(first, at),
        labels=found,
        numbers=numbers_of(kpi, whole.columns),
        terms=_terms(kpi, whole),
        quantiles=_quantiles(run, settings, kpi, window, whole.sample.labels, at),
        outcomes={o: n for o, n in run.outcomes(kpi.topic).items() if n},
        invalid=run.outcomes("")["invalid"],
        segments=parts(run.evaluator, shares, at, window, kpi, whole),
        one_more=one_more(kpi, whole.columns),
        reached=reached(kpi, whole.columns, rules),
        next=_next(run, kpi, window, whole, at),
    )


def _watches(rule: Rule, kpi: Kpi, window: Window, by: Sequence[str]) -> bool:
    return (rule.kpi, rule.window, set(rule.by)) == (kpi.id, window.label, set(by))


def _find(
    run: Replay,
    settings: Settings,
    kpi: Kpi,
    window: Window,
    labels: Mapping[str, str],
    at: int,
) -> Inputs:
    allowed = (*settings.dimensions, *kpi.labels)
    for name in labels:
        if name not in allowed:
            raise NoSuchSeries(f"no label {name!r}: {kpi.id} has {', '.join(allowed) or 'none'}")
    rollup = tuple(name for name in settings.dimensions if name in labels)
    found = run.evaluator.inputs(run.shares(at), at, window, rollup, kpi)
    for name, value in labels.items():
        values = sorted({dict(inputs.sample.labels)[name] for inputs in found})
        found = [inputs for inputs in found if (name, value) in inputs.sample.labels]
        if not found:
            raise NoSuchSeries(f"no series with {name}={value!r}; there is {_listed(values)}")
    if not found:
        raise NoSuchSeries(f"no series of {kpi.id}: nothing with a {' or '.join(kpi.labels)}")
    if len(found) > 1:
        (name,) = (name for name in kpi.labels if name not in labels)
        values = sorted({dict(inputs.sample.labels)[name] for inputs in found})
        raise NoSuchSeries(f"name a {name} by --labels {name}=…; there is {_listed(values)}")
    return found[0]


def _listed(values: Sequence[str]) -> str:
    named = ", ".join(map(repr, values[:_NAMED]))
    left = len(values) - _NAMED
    return (named or "none") + (f" and {left} more" if left > 0 else "")


def _terms(kpi: Kpi, inputs: Inputs) -> dict[str, float]:
    return {term.words: inputs.columns[term.column] for term in kpi.terms}


def _quantiles(
    run: Replay,
    settings: Settings,
    kpi: Kpi,
    window: Window,
    labels: LabelPairs,
    at: int,
) -> dict[str, float]:
    """The quantiles that go with the KPI, where the rollup is one that is kept."""
    names = set(rollup_of(labels))
    rollups = frozenset(r for r in settings.rollups if set(r) == names)
    if kpi.sketch is None or not rollups:
        return {}
    wanted = {window.label: Wanted(frozenset({kpi.id}), rollups)}
    found: dict[str, float] = {}
    for sample in run.evaluator.evaluate(run.shares(at), at, wanted).samples:
        named = dict(sample.labels)
        quantile = named.pop("quantile", None)
        if quantile is not None and named == dict(labels) and sample.value is not None:
            found[quantile] = sample.value
    return found


def _next(run: Replay, kpi: Kpi, window: Window, whole: Inputs, at: int) -> Next | None:
    """Let time go on, pane by pane and without events, until a term changes."""
    rollup = rollup_of(whole.sample.labels)
    before = _terms(kpi, whole)
    pane = at // window.pane_ms
    for later in range(pane + 1, pane + window.panes + 2):
        then = later * window.pane_ms
        series = run.evaluator.inputs(run.shares(then), then, window, rollup, kpi)
        inputs = next((i for i in series if i.sample.labels == whole.sample.labels), None)
        if inputs is not None and (terms := _terms(kpi, inputs)) != before:
            return Next(then, numbers_of(kpi, inputs.columns), terms)
    return None
