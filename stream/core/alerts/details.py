"""What changes say beyond their own sample, looked up only where there is a change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stream.core.alerts.rules import PreparedRule, Rollups
from stream.core.catalogue import KPIS
from stream.core.evaluate import Evaluator, Share, Wanted
from stream.core.series import LabelPairs, Sample, rollup_of
from stream.core.settings import Settings, Window


@dataclass(frozen=True)
class Details:
    """Samples at the time of a change, by KPI and window, then by rollup and labels."""

    whole: Mapping[tuple[str, str], Rollups] = field(default_factory=dict)
    #: Those of the newest part of each window, under the window's own label.
    newest: Mapping[tuple[str, str], Rollups] = field(default_factory=dict)
    #: The newest part of each window, by the window's label.
    parts: Mapping[str, Window] = field(default_factory=dict)

    def sample(self, kpi: str, window: str, labels: LabelPairs) -> Sample | None:
        """A series of a window."""
        return self.whole.get((kpi, window), {}).get(rollup_of(labels), {}).get(labels)

    def newest_sample(self, kpi: str, window: str, labels: LabelPairs) -> Sample | None:
        """A series of the newest part of a window."""
        return self.newest.get((kpi, window), {}).get(rollup_of(labels), {}).get(labels)


#: Gives all rollups of some KPIs in some windows, and in the newest parts of some.
Look = Callable[[Mapping[str, frozenset[str]], Mapping[str, frozenset[str]]], Details]


class Closer:
    """Looks closer at what shares hold: all rollups, and the newest part of each window.

    The newest part is the newest quarter of the window's panes, at least one; a window of one pane
    has none. What is kept per customer is only kept for whole windows.
    """

    def __init__(self, settings: Settings) -> None:
        self._parts = {
            w.label: Window(w.label, max(1, w.panes // 4) * w.pane_ms, w.pane_ms)
            for w in settings.windows
            if w.panes > 1
        }
        self._whole = Evaluator(settings)
        newest = replace(settings, windows=tuple(self._parts.values()))
        self._newest = Evaluator(newest, settings.windows) if self._parts else None
        self._for_customers = {kpi.id for kpi in KPIS.values() if kpi.is_per_customer}

    def at(self, shares: Sequence[Share], at: int) -> Look:
        """What looks at these shares at time ``at`` (ms), once it is asked."""

        def look(
            whole: Mapping[str, frozenset[str]], newest: Mapping[str, frozenset[str]]
        ) -> Details:
            of_whole = {window: Wanted(kpis) for window, kpis in whole.items()}
            of_newest = {w: Wanted(kpis - self._for_customers) for w, kpis in newest.items()}
            return Details(
                indexed(self._whole.evaluate(shares, at, of_whole).samples),
                indexed(self._newest.evaluate(shares, at, of_newest).samples)
                if self._newest is not None
                else {},
                self._parts,
            )

        return look


def look_closer(rules: Iterable[PreparedRule], look: Look) -> Details:
    """Look once for all that the changes of these rules say."""
    whole: dict[str, set[str]] = {}
    newest: dict[str, set[str]] = {}
    for prepared in rules:
        rule = prepared.rule
        if rule.topic:
            continue
        newest.setdefault(rule.window, set()).add(rule.kpi)
        for window in (rule.window, prepared.baseline):
            if window is not None:
                whole.setdefault(window, set()).add(rule.kpi)
    if not whole:
        return Details()
    return look(*({w: frozenset(kpis) for w, kpis in some.items()} for some in (whole, newest)))


def indexed(samples: Iterable[Sample]) -> Mapping[tuple[str, str], Rollups]:
    """Samples by KPI and window, then by rollup and labels."""
    index: dict[tuple[str, str], dict[tuple[str, ...], dict[LabelPairs, Sample]]] = {}
    for sample in samples:
        rollups = index.setdefault((sample.kpi, sample.window), {})
        rollups.setdefault(rollup_of(sample.labels), {})[sample.labels] = sample
    return index
