"""What the core needs to know of the configuration, already checked and in base units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from stream.core.ends_of_time import BEFORE_ALL

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: The shortest time that answers, carts and values of a dimension are remembered, in ms.
SHORTEST_MEMORY = 7 * DAY

#: The denominator below which a rule has no data, unless it says otherwise.
MIN_SAMPLES = 30.0

#: Label names that belong to the product, or to Prometheus (``le``, as ``quantile``), and can't be
#: dimensions.
RESERVED_LABELS = frozenset({"window", "quantile", "le", "currency", "rule", "severity", "kpi"})


#: The emotions that count as positive and as negative by default, in small letters.
POSITIVE_EMOTIONS = ("happy", "pleased", "trusting", "valued")
NEGATIVE_EMOTIONS = ("dissatisfied", "frustrated", "disappointed", "irritated")

#: What a rule for missing input watches in place of a KPI: seconds since the latest event.
INPUT = "input"


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: its ``size/pane`` newest panes, the one that holds t included."""

    label: str
    size_ms: int
    pane_ms: int

    @property
    def panes(self) -> int:
        """How many panes make up the window (1 to 240)."""
        return self.size_ms // self.pane_ms

    def first_pane(self, at: int) -> int:
        """The index of the oldest pane of the window at time ``at``."""
        return at // self.pane_ms - self.panes + 1

    def start(self, at: int) -> int:
        """The start of the window at time ``at``: its oldest pane's first millisecond."""
        return self.first_pane(at) * self.pane_ms

    def covered(self, first: int | None, at: int, start: int = BEFORE_ALL) -> float:
        """The part (0 to 1) of the window at ``at`` since ``first``, the first event ever counted.

        All are ms since the epoch; None where no event was counted. A window that began empty at
        ``start`` knows nothing of what was before.
        """
        if first is None:
            return 0.0
        return min(1.0, max(0.0, (at - max(first, start)) / self.size_ms))


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert rule: a threshold, a spike (``baseline``, ``factor``) or missing input (``topic``).

    Where input is missed, ``kpi`` is ``INPUT``, ``by`` the label ``topic`` and ``above`` the
    seconds that may pass without an event.
    """

    name: str
    kpi: str
    window: str
    by: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    for_ms: int = 0
    keep_firing_for_ms: int = 0
    min_samples: float = MIN_SAMPLES
    #: The part (0 to 1) of the window, and of a spike's baseline, that data must cover.
    min_covered: float = 0
    significant: bool = False
    on_no_data: Literal["keep", "resolve"] = "keep"
    baseline: str | None = None
    factor: float | None = None
    severity: str = "warning"
    summary: str = ""
    runbook_url: str = ""
    #: How many alerts can be pending or firing at a time; one more tells of further series.
    max_series: int = 100
    #: The topic (without prefix) whose events are missed; empty for a rule that watches a KPI.
    topic: str = ""

    @property
    def threshold(self) -> float | None:
        """``above`` or ``below``, whichever is set; None for a spike, whose threshold moves."""
        return self.above if self.above is not None else self.below

    @property
    def asks_for_whole_interval(self) -> bool:
        """Whether a value is beyond only with its whole 95% interval, as a spike always is."""
        return self.significant or self.factor is not None

    @classmethod
    def missing_input(cls, name: str, topic: str, absent_for_ms: int, **more: Any) -> Rule:
        """A rule for a topic from which no event was accepted for so long."""
        seconds = absent_for_ms / SECOND
        return cls(name, INPUT, "", ("topic",), above=seconds, topic=topic, **more)


@dataclass(frozen=True, slots=True)
class Settings:
    """The core's settings. The defaults are those of the product."""

    dimensions: tuple[str, ...] = ("channel", "region")
    rollups: tuple[tuple[str, ...], ...] = ((), ("channel",), ("region",), ("channel", "region"))
    windows: tuple[Window, ...] = (
        Window("5m", 5 * MINUTE, 5 * SECOND),
        Window("1h", HOUR, MINUTE),
        Window("24h", DAY, 10 * MINUTE),
        Window("7d", 7 * DAY, HOUR),
    )
    dedupe_ms: int = 10 * MINUTE
    evaluate_ms: int = 5 * SECOND
    max_values_per_dimension: int = 100
    max_segments: int = 10_000
    #: How many entities of a kind a shard remembers; beyond, the oldest are forgotten early.
    max_remembered: int = 5_000_000
    cart_timeout_ms: int = 30 * MINUTE
    rapid_response_ms: int = 5 * MINUTE
    rapid_resolution_ms: int = 24 * HOUR
    positive_emotions: frozenset[str] = frozenset(POSITIVE_EMOTIONS)
    negative_emotions: frozenset[str] = frozenset(NEGATIVE_EMOTIONS)
    health_weights: dict[str, float] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    #: The address of Grafana, for links in alerts; empty where there is none.
    dashboard_url: str = ""

    @property
    def memory_ms(self) -> int:
        """How long answers, carts and values of a dimension are remembered."""
        return max(SHORTEST_MEMORY, *(w.size_ms for w in self.windows))

    def late_before(self, at: int) -> int:
        """Events older than this are late at time ``at``."""
        oldest = min(w.start(at) for w in self.windows)
        return min(oldest, at - SHORTEST_MEMORY)
