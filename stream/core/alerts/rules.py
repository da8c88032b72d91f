"""Rules made ready: sorted rollups, and for spikes how a baseline compares to the window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from stream.core import durations
from stream.core.alerts.exact import UNSCALED
from stream.core.alerts.overflow import overflow_rule
from stream.core.alerts.quantities import as_written
from stream.core.catalogue import KPIS
from stream.core.evaluate import Wanted
from stream.core.kpi import Kpi
from stream.core.series import LabelPairs, Sample
from stream.core.settings import MIN_SAMPLES, SECOND, Rule, Settings, Window
from stream.core.text import printable

#: Samples of one KPI and window: rollup → labels → sample.
Rollups = Mapping[tuple[str, ...], Mapping[LabelPairs, Sample]]


@dataclass(frozen=True, slots=True)
class PreparedRule:
    """A rule with what its evaluation needs of the catalogue and the windows."""

    rule: Rule
    #: None where input is missed.
    kpi: Kpi | None
    #: The rollup, sorted by name as samples are.
    by: tuple[str, ...]
    #: Usual value = baseline's value × this: window size / baseline size where the KPI grows
    #: with the window, else 1.
    usual_scale: Fraction = UNSCALED
    #: The window of the usual value: a spike's, else the next longer one where there is one that
    #: can be compared.
    baseline: str | None = None
    #: The windows that decide: the rule's own and a spike's baseline; none where input is missed.
    deciding: tuple[Window, ...] = ()
    #: The rule of the alert that says that there are more series than alerts.
    overflow: Rule | None = None

    @property
    def longest(self) -> Window | None:
        """The longest window that decides; None where input is missed."""
        return max(self.deciding, key=lambda window: window.size_ms, default=None)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a configuration, sorted by name."""

    rules: tuple[PreparedRule, ...]
    #: Where dashboards are, for links; empty where they are nowhere.
    dashboard_url: str = ""
    #: The labels that dashboards have variables of.
    dimensions: tuple[str, ...] = ()
    #: Sizes of the windows in ms, by label.
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> RuleSet:
        """Prepare the rules of ``settings``, which were checked when the configuration was read."""
        windows = {window.label: window for window in settings.windows}
        rules = sorted(settings.rules, key=lambda rule: rule.name)
        return cls(
            tuple(_prepare(rule, KPIS.get(rule.kpi), windows) for rule in rules),
            settings.dashboard_url,
            settings.dimensions,
            {label: window.size_ms for label, window in windows.items()},
        )


def _prepare(rule: Rule, kpi: Kpi | None, windows: Mapping[str, Window]) -> PreparedRule:
    by, overflow = tuple(sorted(rule.by)), overflow_rule(rule)
    if rule.topic:
        return PreparedRule(rule, None, by, overflow=overflow)
    sizes = {label: window.size_ms for label, window in windows.items()}
    baseline, scale = rule.baseline or _usual_window(rule, kpi, sizes), UNSCALED
    if baseline is not None and kpi is not None and kpi.grows_with_window:
        scale = Fraction(sizes[rule.window], sizes[baseline])
    named = (windows.get(label or "") for label in (rule.window, rule.baseline))
    deciding = tuple(window for window in named if window is not None)
    return PreparedRule(rule, kpi, by, scale, baseline, deciding, overflow)


def _usual_window(rule: Rule, kpi: Kpi | None, sizes: Mapping[str, int]) -> str | None:
    """The next longer window than the rule's: what is usual there, and known of before."""
    if rule.window not in sizes or (kpi is not None and not kpi.compares_across_windows):
        return None
    longer = [label for label, size in sizes.items() if size > sizes[rule.window]]
    return min(longer, key=lambda label: sizes[label], default=None)


def needed(rules: Iterable[Rule]) -> set[tuple[str, str, tuple[str, ...]]]:
    """The (KPI, window, sorted rollup) whose samples the rules are decided by.

    Rules for missing input need none: see ``with_input``.
    """
    series = set()
    for rule in rules:
        if rule.topic:
            continue
        by = tuple(sorted(rule.by))
        series.add((rule.kpi, rule.window, by))
        if rule.baseline is not None:
            series.add((rule.kpi, rule.baseline, by))
    return series


def of_family(rules: Iterable[Rule], family: str) -> tuple[Rule, ...]:
    """The rules that the owner of a KPI family evaluates, ``family`` being its topic."""
    kpis = {kpi.id for kpi in KPIS.values() if kpi.topic == family}
    return tuple(rule for rule in rules if rule.kpi in kpis or rule.topic == family)


def wanted(rules: Iterable[Rule], rollups: Iterable[tuple[str, ...]]) -> dict[str, Wanted]:
    """What an evaluation has to hold for the rules to be decided, by window label."""
    windows: dict[str, tuple[set[str], set[tuple[str, ...]]]] = {}
    known = list(rollups)
    for kpi, window, by in needed(rules):
        kpis, asked = windows.setdefault(window, (set(), set()))
        kpis.add(kpi)
        asked.update(rollup for rollup in known if tuple(sorted(rollup)) == by)
    return {
        window: Wanted(frozenset(kpis), frozenset(asked))
        for window, (kpis, asked) in windows.items()
    }


def described(rule: Rule) -> str:
    """A rule in one line, as its configuration says it."""
    if rule.topic:
        absent = durations.label(round((rule.threshold or 0) * SECOND))
        parts = [f"no event of {rule.topic} for {absent}"]
    else:
        parts = [rule.kpi, rule.window, *_condition(rule)]
    if rule.for_ms:
        parts.append(f"for {durations.label(rule.for_ms)}")
    if rule.keep_firing_for_ms:
        parts.append(f"kept for {durations.label(rule.keep_firing_for_ms)}")
    return printable(" ".join(parts))


def _condition(rule: Rule) -> Iterator[str]:
    """What a rule on a KPI asks of its value."""
    kpi = KPIS.get(rule.kpi)
    if rule.by:
        yield f"by {', '.join(rule.by)}"
    if rule.factor is not None:
        yield f"{'above' if rule.factor > 1 else 'below'} {rule.factor:g} × that of {rule.baseline}"
    elif rule.threshold is not None:
        side = "above" if rule.above is not None else "below"
        yield f"{side} {as_written(kpi, rule.threshold)}"
    if rule.significant:
        yield "significantly"
    if rule.clear is not None:
        yield f"cleared at {as_written(kpi, rule.clear)}"
    if rule.min_samples != MIN_SAMPLES and kpi is not None and kpi.denominator is not None:
        yield f"from a denominator of {rule.min_samples:.12g} on"
    if rule.min_covered:
        yield f"once {100 * rule.min_covered:.12g}% is covered"
