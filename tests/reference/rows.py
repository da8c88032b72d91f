"""Every KPI of every window and series, each computed from all facts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from tests.reference.config import DAY, Config
from tests.reference.facts import Fact, all_facts
from tests.reference.reading import Reading, start

Z = 1.959964
Labels = tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """One series' value at the time that was asked for."""

    kpi: str
    window: str
    labels: Labels
    value: float | None
    lower: float | None = None
    upper: float | None = None
    numerator: float | None = None
    denominator: float | None = None


class Number(NamedTuple):
    """A KPI's value with what comes along."""

    kpi: str
    value: Fraction | None
    bounds: tuple[float, float] | None = None
    numerator: Fraction | None = None
    denominator: Fraction | None = None
    labels: Labels = ()


@dataclass(frozen=True)
class Series:
    """All that the KPIs of one series in one window are computed from."""

    config: Config
    #: The facts in the window with the series' labels.
    facts: Sequence[Fact]
    active_at_start: int
    start: int
    days: Fraction

    def of(self, kind: str) -> list[Fact]:
        return [f for f in self.facts if f.kind == kind]


def rows(
    reading: Reading, at: int | None = None, begins: Mapping[str, int] | None = None
) -> list[Row]:
    """The rows that have a value or a number that is not 0, at ``at`` or the time of the input.

    Windows that were added later know of nothing that counts before a time (ms), by their names in
    ``begins``: save for signals, whose customers are remembered, and for how many are active. What
    counts later is told in full, also how old a subscription was that was cancelled.
    """
    t = at if at is not None else reading.t
    if t is None or reading.t is None:
        return []
    config = reading.config
    facts = all_facts(reading.accepted, config, t)
    found = []
    for window, (size, pane) in config["windows"].items():
        first = start(t, size, pane)
        begin = (begins or {}).get(window, -math.inf)
        inside = [
            f
            for f in facts
            if first <= f.at < (t // pane + 1) * pane and (f.kind == "signal" or f.at >= begin)
        ]
        for labels in _series(facts, config):
            series = Series(
                config,
                [f for f in inside if _belongs(f, labels)],
                _active(facts, labels, first, pane),
                first,
                Fraction(size, DAY),
            )
            found += [
                _row(n, window, labels)
                for n in _numbers(series)
                if n.value is not None or n.numerator or n.denominator
            ]
    return found


def _row(n: Number, window: str, labels: Labels) -> Row:
    lower, upper = n.bounds or (None, None)
    all_labels = tuple(sorted((*labels, *n.labels)))
    value, top, bottom = (
        None if x is None else float(x) for x in (n.value, n.numerator, n.denominator)
    )
    return Row(n.kpi, window, all_labels, value, lower, upper, top, bottom)


def _series(facts: Sequence[Fact], config: Config) -> set[Labels]:
    return {
        tuple(sorted((name, f.dimensions[name]) for name in rollup))
        for rollup in config["rollups"]
        for f in facts
        if all(name in f.dimensions for name in rollup)
    }


def _belongs(fact: Fact, labels: Labels) -> bool:
    return all(fact.dimensions.get(name) == value for name, value in labels)


def _active(facts: Sequence[Fact], labels: Labels, first: int, pane: int) -> int:
    """Active at the window's start: per full set of labels, then summed."""
    subscribed = [f for f in facts if f.kind in ("base", "started", "cancelled")]
    total = 0
    for full_set in {f.said["set"] for f in subscribed}:
        own = [f for f in subscribed if f.said["set"] == full_set]
        # What folds into `other` may change; a set of labels goes where its latest event counts.
        if _belongs(max(own, key=lambda f: f.said["place"]), labels):
            total += _active_of_set(own, first, pane)
    return total


def _active_of_set(own: Sequence[Fact], first: int, pane: int) -> int:
    # Facts of a kind are in order of arrival, so that the last of equals came last.
    bases: dict[int, Fact] = {}
    for base in sorted((f for f in own if f.kind == "base"), key=lambda f: f.at):
        bases[base.at // pane * pane] = base
    before = [b for b in bases if b <= first]
    after = [b for b in bases if b > first]

    def change(since: float, until: float) -> int:
        started = sum(f.kind == "started" and since <= f.at < until for f in own)
        cancelled = sum(f.kind == "cancelled" and since <= f.at < until for f in own)
        return started - cancelled

    if before:
        return int(bases[max(before)].said["active"]) + change(max(before), first)
    if after:
        return int(bases[min(after)].said["active"]) - change(first, min(after))
    return change(-math.inf, first)


def _numbers(series: Series) -> Iterator[Number]:
    for compute in _KPIS:
        yield from compute(series)


def wilson(numerator: Fraction, denominator: Fraction) -> tuple[float, float] | None:
    """The Wilson score interval; None where the share is none."""
    if denominator <= 0 or not 0 <= numerator <= denominator:
        return None
    n, p, z2 = float(denominator), float(numerator / denominator), Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return middle - half, middle + half


def _ratio(kpi: str, numerator: int | Fraction, denominator: int | Fraction) -> Number:
    top, bottom = Fraction(numerator), Fraction(denominator)
    if bottom <= 0:
        return Number(kpi, None, None, top, bottom)
    return Number(kpi, top / bottom, wilson(top, bottom), top, bottom)


def _mean(kpi: str, values: Sequence[Fraction]) -> Number:
    if not values:
        return Number(kpi, None, None, Fraction(0), Fraction(0))
    total = sum(values, Fraction(0))
    return Number(kpi, total / len(values), None, total, Fraction(len(values)))


def _surveys(series: Series) -> Iterator[Number]:
    def given(survey: str) -> list[Mapping[str, Fraction]]:
        return [f.said for f in series.of("answer") if f.said["survey"] == survey]

    nps = given("nps")
    promoters = sum(10 * a["score"] >= 9 * a["max"] for a in nps)
    detractors = sum(10 * a["score"] < 7 * a["max"] for a in nps)
    yield _nps(promoters, detractors, len(nps))
    for kpi in ("csat", "css"):
        satisfied = [1 + 4 * _part(a, a["score"]) >= 4 for a in given(kpi)]
        yield _ratio(kpi, sum(satisfied), len(satisfied))
    efforts = [1 + 6 * _part(a, a["score"]) for a in given("ces")]
    yield _ratio("ces", sum(e >= 5 for e in efforts), len(efforts))
    yield _mean("ces_mean", efforts)


def _part(answer: Mapping[str, Fraction], score: Fraction) -> Fraction:
    return (score - answer["min"]) / (answer["max"] - answer["min"])


def _nps(promoters: int, detractors: int, n: int) -> Number:
    if n == 0:
        return Number("nps", None, None, Fraction(0), Fraction(0))
    p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
    half = Z * math.sqrt((p + d - (p - d) ** 2) / (n + 3))
    bounds = max(-100.0, 100 * (p - d - half)), min(100.0, 100 * (p - d + half))
    difference = Fraction(promoters - detractors)
    return Number("nps", 100 * difference / n, bounds, difference, Fraction(n))


def _emotions(series: Series) -> Iterator[Number]:
    sides: list[list[Fraction]] = []
    for names in (series.config["positive"], series.config["negative"]):
        known = {name.casefold() for name in names}
        sides.append(
            [
                10 * _part(f.said, intensity)
                for f in series.of("answer")
                if f.said["survey"] == "emotion"
                for name, intensity in f.said["emotions"].items()
                if name.casefold() in known
            ]
        )
    if all(sides):
        positive, negative = (sum(side, Fraction(0)) / len(side) for side in sides)
        yield Number("nev", positive - negative)


def _sentiment(series: Series) -> Iterator[Number]:
    said = [f.said["sentiment"] for f in series.of("answer") + series.of("close")]
    yield _mean("sentiment", [s for s in said if s is not None])


def _tickets(series: Series) -> Iterator[Number]:
    closes = [f.said for f in series.of("close")]
    resolved = [c for c in closes if c["resolved"]]
    yield _mean("art", [Fraction(c["resolution"]) / 1000 for c in resolved])
    yield _ratio("fcr", sum(c["first_contact"] for c in resolved), len(resolved))
    limit = series.config["rapid_resolution"]
    yield _ratio("rapid_resolution", sum(c["resolution"] <= limit for c in resolved), len(resolved))
    yield _ratio("automation", sum(c["automated"] for c in resolved), len(resolved))
    responses = [c["first_response"] for c in closes if c["first_response"] is not None]
    limit = Fraction(series.config["rapid_response"], 1000)
    yield _ratio("rapid_response", sum(r <= limit for r in responses), len(responses))


def _carts(series: Series) -> Iterator[Number]:
    abandoned, purchased = len(series.of("abandoned")), len(series.of("purchased"))
    yield _ratio("cart_abandonment", abandoned, abandoned + purchased)
    recovered = len(series.of("recovered"))
    yield Number("cart_recovered", Fraction(recovered) if recovered else None)


def _subscriptions(series: Series) -> Iterator[Number]:
    cancelled = series.of("cancelled")
    active = series.active_at_start
    of_them = [f for f in cancelled if f.said["start"] is None or f.said["start"] < series.start]
    yield _ratio("churn", len(cancelled), active)
    yield _ratio("retention", active - len(of_them), active)
    lifetimes = [
        Fraction(f.at - f.said["start"], DAY) for f in cancelled if f.said["start"] is not None
    ]
    paid = [f.said for f in series.of("paid")]
    for currency in {p["currency"] for p in paid}:
        labels = (("currency", currency),)
        own = [p for p in paid if p["currency"] == currency]
        amount = sum((p["amount"] for p in own), Fraction(0))
        upsell = sum((p["upsell"] for p in own), Fraction(0))
        yield _ratio("upsell", upsell, amount)._replace(bounds=None, labels=labels)
        if active > 0 and lifetimes:
            lifetime = sum(lifetimes, Fraction(0)) / len(lifetimes)
            yield Number("clv", amount / active / series.days * lifetime, labels=labels)


def _visits(series: Series) -> Iterator[Number]:
    visits = [f.said for f in series.of("visit")]
    yield _ratio("conversion", sum(v["converted"] for v in visits), len(visits))
    yield _ratio("acquisition", sum(v["new_customer"] for v in visits), len(visits))
    yield _mean("pages_per_visit", [Fraction(v["pages"]) for v in visits])


def _health(series: Series) -> Iterator[Number]:
    weights = series.config["weights"]
    values: dict[str, list[tuple[Fraction, Fraction]]] = {}
    for said in (f.said for f in series.of("signal")):
        weight = Fraction(weights.get(said["signal"], 1))
        if weight:
            values.setdefault(said["customer_id"], []).append((weight, said["value"]))
    scores = [sum(w * v for w, v in own) / sum(w for w, _ in own) for own in values.values()]
    yield _mean("health", [Fraction(s) for s in scores])
    yield _ratio("at_risk", sum(s < 40 for s in scores), len(scores))


_KPIS: tuple[Callable[[Series], Iterator[Number]], ...] = (
    _surveys,
    _emotions,
    _sentiment,
    _tickets,
    _carts,
    _subscriptions,
    _visits,
    _health,
)


def quantile_choices(
    reading: Reading, window: str, labels: Labels, quantile: float, at: int | None = None
) -> list[float]:
    """The resolution times in seconds, of which either is the quantile; none without tickets."""
    t = at if at is not None else reading.t
    if t is None:
        return []
    size, pane = reading.config["windows"][window]
    first = start(t, size, pane)
    times = sorted(
        float(f.said["resolution"]) / 1000
        for f in all_facts(reading.accepted, reading.config, t)
        if f.kind == "close" and f.said["resolved"]
        if first <= f.at < (t // pane + 1) * pane and _belongs(f, labels)
    )
    if not times:
        return []
    rank = Fraction(str(quantile)) * (len(times) - 1)
    return [times[math.floor(rank)], times[math.ceil(rank)]]
