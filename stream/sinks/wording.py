"""A change in words, the same for every sink that speaks to people."""

from __future__ import annotations

from typing import Final

from stream.core.alerts import Change, Contributor
from stream.core.alerts.measures import Measure, measure
from stream.core.alerts.quantities import as_limit, duration, quantity, rounded
from stream.core.kpi import Kpi
from stream.core.settings import SECOND
from stream.core.text import printable

#: How many contributors are told.
MOST_CONTRIBUTORS: Final = 5


def headline(change: Change) -> str:
    """One short line: ``FIRING CsatLow, critical, region eu``."""
    where = [f"{name} {value}" for name, value in sorted(change.labels.items())]
    parts = [f"{change.to.upper()} {change.rule}", change.severity, *where]
    return printable(", ".join(parts))


def facts(change: Change) -> list[tuple[str, str]]:
    """What was measured, as names and values; what is not known is left out."""
    what = measure(change.kpi)
    over = f" over {change.window}" if change.window else ""
    found = [("KPI", f"{what.title if what else change.kpi}{over}")]
    if change.value is not None:
        found.append(("Value", measured(change, change.value)))
    if change.lower is not None and change.upper is not None:
        interval = f"{measured(change, change.lower)} to {measured(change, change.upper)}"
        found.append(("95% interval", interval))
    if change.denominator is not None:
        found.append(("n", f"{change.denominator:,.12g}"))
    if change.threshold is not None:
        found.append(("Threshold", limited(change, change.threshold)))
    if change.baseline is not None:
        usual = f"{measured(change, change.baseline)} (over {change.baseline_window})"
        found.append(("Usually", usual))
    if change.trend is not None:
        found.append(("Trend", f"{change.trend.direction}, in the last {change.trend.part}"))
    return [*found, ("Since", change.started_at)]


def measured(change: Change, value: float) -> str:
    """A value of the change in its unit."""
    return quantity(measure(change.kpi), value)


def limited(change: Change, threshold: float) -> str:
    """The threshold of the change in its unit."""
    return as_limit(measure(change.kpi), threshold)


def contributors(change: Change) -> list[str]:
    """What moved the value most, a line each: ``channel web: +3.1 points, now 12%, usually 9%``."""
    what = measure(change.kpi)
    return [_contributor(what, part) for part in change.contributors[:MOST_CONTRIBUTORS]]


def _contributor(what: Kpi | Measure | None, part: Contributor) -> str:
    where = ", ".join(f"{name} {value}" for name, value in sorted(part.labels.items()))
    now = "" if part.value is None else f", now {quantity(what, part.value)}"
    before = "" if part.before is None else f", usually {quantity(what, part.before)}"
    return printable(f"{where}: {_moved(what, part.contribution)}{now}{before}")


def _moved(what: Kpi | Measure | None, contribution: float) -> str:
    """A difference in the KPI's unit; that of a share is told in percentage points."""
    if what is not None and what.unit == "ratio":
        return f"{100 * contribution:+.3g} points"
    if what is not None and what.unit == "seconds":
        sign = "-" if contribution < 0 else "+"
        return sign + duration(round(abs(contribution) * SECOND))
    return f"{'-' if contribution < 0 else '+'}{rounded(abs(contribution))}"


def links(change: Change) -> list[tuple[str, str]]:
    """Where to look, as names and addresses: the dashboard and the runbook, where there are any."""
    named = [("Dashboard", change.dashboard_url), ("Runbook", change.runbook_url)]
    return [(name, address) for name, address in named if address]
