"""Rules made ready: sorted rollups, and for spikes how a baseline compares to the window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream.core.kpi import Kpi
from stream.core.series import Labels, Sample
from stream.core.settings import RESERVED_LABELS, Rule, Settings

#: Samples of one KPI and window: rollup → labels → sample.
Rollups = Mapping[tuple[str, ...], Mapping[Labels, Sample]]


@dataclass(frozen=True, slots=True)
class PreparedRule:
    """A rule with what its evaluation needs of the catalogue and the windows."""

    rule: Rule
    kpi: Kpi | None
    #: The rollup, sorted by name as samples are.
    by: tuple[str, ...]
    #: Usual value = baseline's value × this: window size / baseline size where the KPI grows
    #: with the window, else 1.
    usual_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a configuration, sorted by name."""

    rules: tuple[PreparedRule, ...]

    @classmethod
    def of(cls, settings: Settings, kpis: Mapping[str, Kpi]) -> RuleSet:
        """Prepare the rules of ``settings``, which were checked when the configuration was read."""
        sizes = {window.label: window.size_ms for window in settings.windows}
        rules = sorted(settings.rules, key=lambda rule: rule.name)
        return cls(tuple(_prepare(rule, kpis.get(rule.kpi), sizes) for rule in rules))


def _prepare(rule: Rule, kpi: Kpi | None, sizes: Mapping[str, int]) -> PreparedRule:
    scale = 1.0
    if rule.baseline is not None and kpi is not None and kpi.grows_with_window:
        scale = sizes[rule.window] / sizes[rule.baseline]
    return PreparedRule(rule, kpi, tuple(sorted(rule.by)), scale)


def needed(rules: Iterable[Rule]) -> set[tuple[str, str, tuple[str, ...]]]:
    """The (KPI, window, sorted rollup) whose samples the rules are decided by.

    Contributors also come from finer rollups of the same KPI and window, where the evaluation has
    them.
    """
    series = set()
    for rule in rules:
        by = tuple(sorted(rule.by))
        series.add((rule.kpi, rule.window, by))
        if rule.baseline is not None:
            series.add((rule.kpi, rule.baseline, by))
    return series


def rollup_of(labels: Labels) -> tuple[str, ...]:
    """The rollup of a series: its label names without those that the KPI itself adds."""
    return tuple(name for name, _ in labels if name not in RESERVED_LABELS)
