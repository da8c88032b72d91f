"""What a KPI is: counters that facts add to, and a formula over the sums of these counters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Numbers, one entry per series.
Column = NDArray[np.float64]
#: Whole numbers, one entry per series: of 64 bits or, where these might not do, Python's own.
Whole = NDArray[Any]
#: Sums of counters by name, as they are stored.
Columns = Mapping[str, Whole]
Direction = Literal["up", "down", "neither"]
Comparable = Literal["always", "same window", "never"]

#: The day of all stories; they are looked at when it is noon.
STORY_DAY: Final = "2026-03-02"

#: Columns that are no sum of a counter, and what they hold.
DERIVED: Final[Mapping[str, str]] = {
    "active": "Subscriptions active at the window's start",
    "window_days": "The window's length in days",
    "health_sum": "Health scores of customers with a signal in the window, added up",
    "customers": "Customers with a signal in the window",
    "customers_at_risk": "Customers with a signal in the window whose score is below 40",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A kind of 95% confidence interval, and what there is to say of it."""

    #: What it is called beside others, and in full.
    short: str
    name: str
    #: How it is made, and where it is absent.
    meaning: str
    #: Its ends, from the columns, the numerator and the denominator of a KPI; NaN where absent.
    ends: Callable[[Columns, Column, Column], tuple[Column, Column]]


@dataclass(frozen=True, slots=True)
class Counter:
    """An integer that facts add to and may be taken back from.

    ``scale``: stored integer per unit (10⁹ for fixed point). A ``wide`` counter is kept as two
    integers (high and low), so that no sum that can occur leaves 64 bits.
    """

    name: str
    help: str
    scale: int = 1
    wide: bool = False
    #: The labels beyond the dimensions whose series the counter belongs to, such as ``currency``.
    labels: tuple[str, ...] = ()
    #: Counters that came in later releases stand after all of earlier ones, whose places never
    #: move: the state of an older release is read by them.
    since: int = 1
    #: The release that made it wide, where it was not at first: its high part stands among what
    #: came then, the low one where all was before.
    wide_since: int = 0


class Term(NamedTuple):
    """Words of a formula, and the column that they stand for: a counter or one of ``DERIVED``."""

    words: str
    column: str


class Move(NamedTuple):
    """Something that may happen once more, as one and as many, and the columns that it adds 1 to.

    It tells how far a value is from another one: 12 more promoters.
    """

    one: str
    many: str
    adds: tuple[str, ...]


#: Columns that stay as they are when series are put together.
CONSTANT: Final = frozenset({"window_days"})
#: Columns whose series overlap: the signals of one customer may carry different labels.
OVERLAPPING: Final = frozenset({"health_sum", "customers", "customers_at_risk"})


@dataclass(frozen=True, slots=True)
class Example:
    """Numbers and what the KPI makes of them, rounded to the digits that are written.

    ``columns`` holds what the formula's terms stand for; what is not named there is 0. A test holds
    the result against the code, and the docs show what the code says.
    """

    told: str
    columns: Mapping[str, float]
    value: float
    lower: float | None = None
    upper: float | None = None


class Told(NamedTuple):
    """An event of a story: its fields but for the id of the event, and what it does."""

    event: Mapping[str, Any]
    does: str


def told(does: str, kind: str, at: str, **fields: object) -> Told:
    """An event of ``STORY_DAY``, ``at`` a time such as 11:30."""
    return Told({"type": kind, "occurred_at": f"{STORY_DAY}T{at}:00Z", **fields}, does)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a KPI says to people, beyond its formula: the KPI's page in ``docs/kpis`` is made of it.

    ``story`` is a short stream, with what each event does; the page shows what the total of an hour
    is after it. ``fed_by`` names the fields of each event type that the KPI looks at. ``alert_at``
    is the threshold of the alert that the page shows, in the gauge's unit; no recommendation.
    """

    definition: str
    examples: tuple[Example, ...]
    story: tuple[Told, ...]
    fed_by: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    corrections: tuple[str, ...]
    alert_at: float


@dataclass(frozen=True, slots=True)
class Kpi:
    """An entry of the catalogue. Gauges, ``replay``, schemas, docs and dashboards read it."""

    id: str
    gauge: str
    title: str
    help: str
    #: How the value follows from the counters, for people: numbers, ``+ − · / ( )`` and the words
    #: of ``terms``. With numbers in place of the words it is the value.
    formula: str
    terms: tuple[Term, ...]
    unit: str
    #: Where the definition was published.
    source: str
    good: Direction
    meaning: Meaning
    #: Value = scale · numerator / denominator, unless ``value`` says otherwise.
    numerator: Callable[[Columns], Whole] | None = None
    denominator: Callable[[Columns], Whole] | None = None
    value: Callable[[Columns], Column] | None = None
    scale: int = 1
    #: What the numerator and the denominator count for one: the ``scale`` of their counters.
    numerator_unit: int = 1
    denominator_unit: int = 1
    #: How sure the value is; None where nothing is known of its spread.
    bounds: Interval | None = None
    #: Labels beyond those of the rollup, such as ``currency``.
    labels: tuple[str, ...] = ()
    #: Name of the sketch whose quantiles go with this KPI, and their gauge.
    sketch: str | None = None
    sketch_scale: float = 1.0
    quantile_gauge: str | None = None
    #: Lowest and highest value that can occur, for dashboards and tests; None is open.
    lowest: float | None = 0.0
    highest: float | None = None
    #: Whether the value grows with the window, so that a baseline must be scaled to compare.
    grows_with_window: bool = False
    #: Whether values over windows of different sizes can be compared, scaled where they grow.
    compares_across_windows: bool = True
    #: Whether a published figure of other companies can be set beside it: in any window, only in a
    #: window as long as the period of the figure, or never (amounts and counts).
    comparable: Comparable = "always"
    #: The topic whose events feed it, without prefix; its entry in the catalogue says so.
    topic: str = ""
    #: What would change the value, one at a time; none where it depends on how much it is.
    moves: tuple[Move, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether the total is its parts added up, so that a part can't be set beside it."""
        return self.grows_with_window and self.unit != "ratio"

    @property
    def is_per_customer(self) -> bool:
        """Whether it is made of customers' scores, not of sums of counters."""
        return any(term.column in OVERLAPPING for term in self.terms)

    def formula_with(self, say: Callable[[Term], str]) -> str:
        """The formula with something else in place of each term, such as its number."""
        terms = {term.words: term for term in self.terms}
        # Of two terms that begin alike, such as lifetime and lifetimes, the longer one is meant.
        words = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))
        return re.sub(rf"\b(?:{words})\b", lambda found: say(terms[found[0]]), self.formula)
