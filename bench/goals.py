"""What the figures should be, and whether they are: computed from measurements, never written."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bench.measured import Measurement

#: By subject, in the order of the rounds.
Results = Mapping[str, Sequence[Measurement]]

#: Two costs are "the same" up to this factor: less can't be told apart on a busy machine.
SAME: Final = 1.25
#: Memory is flat if it grows by no more than this factor after everything has expired twice.
FLAT: Final = 1.1
#: By then all has come and gone: what is remembered for seven days may go in blocks of seven.
SETTLED_DAYS: Final = 21
#: So much may come and go in a body, so memory swings within that time.
CYCLE_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure with its bound; ``values`` are one a round, none where nothing was measured."""

    text: str
    sense: Literal["at least", "at most"]
    bound: float
    values: Sequence[float]
    form: str = ".3g"
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Whether the median is within the bound."""
        if not self.values:
            return "not measured"
        middle = statistics.median(self.values)
        reached = middle >= self.bound if self.sense == "at least" else middle <= self.bound
        return "reached" if reached else "not reached"

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f"{self.sense} {format(self.bound, self.form)}{self.unit}"

    @property
    def measured(self) -> str:
        """The values in words."""
        return spread(self.values, self.form) + self.unit if self.values else "–"


def spread(numbers: Sequence[float], form: str) -> str:
    """Minimum, median and maximum; a single number once."""
    if len(numbers) == 1:
        return format(numbers[0], form)
    middle = statistics.median(numbers)
    return " / ".join(format(x, form) for x in (min(numbers), middle, max(numbers)))


def paired(results: Results, above: str, below: str) -> list[float]:
    """CPU per event of one subject over that of another, round by round.

    Empty where either was not measured. One that fails in any round has no results at all, so the
    others have one of each round.

    Raises:
        ValueError: one has more rounds than the other, so nobody knows which belong together.
    """
    runs, others = results.get(above), results.get(below)
    if not runs or not others:
        return []
    pairs = zip(runs, others, strict=True)
    return [a.cpu_per_million / b.cpu_per_million for a, b in pairs]


#: Title, the subject above and the one below, the bound of their ratio.
_AT_LEAST: Final = (
    ("like for like: stock Faust ÷ worker", "faust", "worker-nps", 40.0),
    ("like for like: Quix Streams, idiomatic ÷ worker", "quix-windowed", "worker-nps", 10.0),
    ("like for like: Quix Streams, no group_by ÷ worker", "quix-keyed", "worker-nps", 10.0),
    ("like for like: Bytewax, hand-batched ÷ worker", "bytewax-batched", "worker-nps", 1.0),
    ("like for like: Kafka Streams DSL, warm ÷ worker", "kstreams-dsl", "worker-nps", 1.3),
    ("like for like: Kafka Streams DSL, cold ÷ worker", "kstreams-dsl-cold", "worker-nps", 1.3),
    ("like for like: raw fetch ÷ worker", "fetch-nps", "worker-nps", 0.4),
)
_AT_MOST: Final = (
    (
        "like for like: worker ÷ Kafka Streams Processor API, warm",
        "worker-nps",
        "kstreams-processor",
        1.5,
    ),
    (
        "like for like: worker ÷ Kafka Streams Processor API, cold",
        "worker-nps",
        "kstreams-processor-cold",
        1.5,
    ),
    ("everything on: worker ÷ raw fetch", "worker", "fetch", 2.5),
)


def of_rounds(results: Results) -> list[Goal]:
    """The goals of both tables of subjects."""
    goals = [Goal(t, "at least", b, paired(results, x, y)) for t, x, y, b in _AT_LEAST]
    goals += [Goal(t, "at most", b, paired(results, x, y)) for t, x, y, b in _AT_MOST]
    worker, replay = results.get("worker", ()), results.get("replay", ())
    cost = [m.cpu_per_million for m in worker]
    goals += [
        Goal("everything on: CPU s per million events", "at most", 3.0, cost, ".2f"),
        Goal("everything on: events/s", "at least", 300_000, [m.rate for m in worker], ",.0f"),
        Goal("`replay`: events/s", "at least", 300_000, [m.rate for m in replay], ",.0f"),
    ]
    return goals


def of_curves(curves: Mapping[str, Sequence[tuple[str, Sequence[float]]]]) -> list[Goal]:
    """That the cost of an event is the same along each curve; values are by point and round."""
    goals = []
    for title, points in curves.items():
        rounds = zip(*(values for _, values in points), strict=True)
        ratios = [max(costs) / min(costs) for costs in rounds]
        goals.append(
            Goal(f"cost of an event by {title}: dearest ÷ cheapest", "at most", SAME, ratios)
        )
    return goals


def of_endurance(found: Mapping[str, Any]) -> list[Goal]:
    """That memory and log stay flat once all that expires has expired, and recovery's time."""
    text = f"most of the second half ÷ of the first, from day {SETTLED_DAYS} on"
    seconds = [found["recovery"]["seconds"]]
    return [
        Goal(f"resident memory: {text}", "at most", FLAT, growth(found["rows"], "rss_mib")),
        Goal(f"bytes of the log: {text}", "at most", FLAT, growth(found["rows"], "log_mib")),
        Goal(
            "recovery of a million entities in 10,000 segments", "at most", 10, seconds, ".3g", " s"
        ),
    ]


def growth(rows: Sequence[Mapping[str, Any]], field: str) -> list[float]:
    """The most in the second half of the settled time over the most in the first.

    Empty where a half is shorter than what comes and goes in a body.
    """
    last = rows[-1]["days"]
    middle = (SETTLED_DAYS + last) / 2
    if middle - SETTLED_DAYS < CYCLE_DAYS:
        return []
    first = [row[field] for row in rows if SETTLED_DAYS <= row["days"] < middle]
    second = [row[field] for row in rows if row["days"] >= middle]
    return [max(second) / max(first)] if first else []
