"""Random rules and random walks of samples, made to meet the limits of the rules often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from stream.core.catalogue import KPIS
from stream.core.series import LabelPairs, Sample
from stream.metrics.families import parts_of

WINDOWS = ("5m", "1h")
REGIONS = ("eu", "us")
#: One of each shape: bounds or none, a denominator or none, a label of its own, negative values,
#: growing with the window.
WATCHED = ("csat", "nps", "art", "cart_recovered", "churn", "upsell", "clv")
VALUES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
DURATIONS = ("0", "0", "5s", "10s", "12s", "30s")


@dataclass(frozen=True)
class Run:
    """Rules as the configuration has them; for each evaluation the samples and who shows them."""

    rules: tuple[dict[str, Any], ...]
    rows: tuple[tuple[Sample, ...], ...]
    instances: tuple[str, ...]
    #: The first event ever counted, in ms from the first evaluation, and nothing while it is ahead.
    first: int


def run_of(seed: int, rules: int = 12, steps: int = 60) -> Run:
    """The run of a seed: some rules, and what they see, over some evaluations."""
    random = Random(seed)
    made = tuple(_rule(random, f"Rule{number}") for number in range(rules))
    wanted = {
        (rule["kpi"], window, labels)
        for rule in made
        for window in WINDOWS
        for labels in labels_of(rule["kpi"], rule["by"])
    }
    walks = [_walk(random, *key, steps) for key in sorted(wanted)]
    rows = tuple(tuple(s for s in row if s is not None) for row in zip(*walks, strict=True))
    owner, instances = 0, []
    for _ in range(steps):
        owner += random.random() < 0.1
        instances.append(f"worker-{owner}")
    return Run(made, rows, tuple(instances), random.randint(-3_600, steps * 5) * 1_000)


def labels_of(kpi: str, by: Sequence[str]) -> list[LabelPairs]:
    """The labels of a rule's series."""
    own: LabelPairs = tuple((name, "EUR") for name in KPIS[kpi].labels)
    if not by:
        return [own]
    return [tuple(sorted((*own, ("region", region)))) for region in REGIONS]


def _rule(random: Random, name: str) -> dict[str, Any]:
    spike = random.random() < 0.3
    rule: dict[str, Any] = {
        "name": name,
        "kpi": random.choice([kpi for kpi in WATCHED if not (spike and kpi == "nps")]),
        "window": "5m",
        "by": random.choice([[], ["region"]]),
        "for": random.choice(DURATIONS),
        "keep_firing_for": random.choice(DURATIONS),
        "min_samples": random.choice([0, 30]),
        "min_covered": random.choice([0, 0, 0.02, 0.5]),
        "on_no_data": random.choice(["keep", "keep", "resolve"]),
        "severity": "critical",
    }
    if spike:
        return rule | {"baseline": "1h", "factor": random.choice([0.5, 0.8, 1.2, 1.5])}
    side, back = random.choice([("above", -1), ("below", 1)])
    limit = random.choice(VALUES[1:-1])
    rule |= {side: limit, "significant": random.random() < 0.4}
    if random.random() < 0.6:
        rule["clear"] = limit + back * random.choice([0, 0.1, 0.15, 0.2])
    return rule


def _walk(
    random: Random, kpi: str, window: str, labels: LabelPairs, steps: int
) -> list[Sample | None]:
    """The samples of one series: each stays for some evaluations, as windows do not jump."""
    found: list[Sample | None] = []
    while len(found) < steps:
        found += [_sample(random, kpi, window, labels)] * random.choice([1, 1, 2, 3, 7])
    return found[:steps]


def _sample(random: Random, kpi: str, window: str, labels: LabelPairs) -> Sample | None:
    """A sample of any shape that the KPI can have; None for a series that nobody exposes."""
    if random.random() < 0.06:
        return None
    parts = parts_of(KPIS[kpi])
    n = random.choice([0, 29, 30, 500, 500, 500]) if "denominator" in parts else None
    value = random.choice(VALUES) if random.random() < 0.94 and n != 0 else None
    lower = upper = None
    if value is not None and "lower" in parts and random.random() < 0.9:
        wide = random.choice([0, 0.05, 0.15])
        lower, upper = value - wide, value + wide
    if KPIS[kpi].grows_with_window and window == "1h" and value is not None:
        value *= 12
    return Sample(kpi, window, labels, value, lower, upper, n, n)
