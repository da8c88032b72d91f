"""Values, durations and counts as people read them."""

from __future__ import annotations

from typing import Protocol

from stream.core.settings import DAY, HOUR, MINUTE, SECOND

#: Units of durations, the longest first.
UNITS = ((DAY, "day"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"))


class HasUnit(Protocol):
    """A KPI, or whatever else has a unit."""

    @property
    def unit(self) -> str:
        """What its values are, such as ``ratio``, ``seconds`` or ``points``."""


def quantity(kpi: HasUnit | None, value: float | None) -> str:
    """A KPI's value in its unit: ``7.5%``, ``5 min 23 s``, ``41.2``."""
    if value is None:
        return "unknown"
    if kpi is not None and kpi.unit == "ratio":
        return f"{_rounded(100 * value)}%"
    if kpi is not None and kpi.unit == "seconds":
        return duration(round(value * SECOND))
    return _rounded(value)


def as_written(kpi: HasUnit | None, value: float) -> str:
    """A limit as a configuration has it; of seconds also as people read them."""
    plain = f"{value:.12g}"
    if kpi is None or kpi.unit != "seconds":
        return plain
    return f"{plain} s" + (f" ({duration(round(value * SECOND))})" if abs(value) >= 60 else "")


def duration(ms: int) -> str:
    """A duration by its two longest units: ``2 days 3 h``, ``1 h 30 min``, ``45 s``, ``250 ms``."""
    if abs(ms) < SECOND:
        return f"{ms} ms"
    parts: list[str] = []
    rest = abs(ms)
    for size, name in UNITS:
        count, left = divmod(rest, size)
        if count or parts:
            rest = left
            if count:
                parts.append(f"{count} {name}{'s' if name == 'day' and count > 1 else ''}")
            if len(parts) == 2:
                break
    return ("-" if ms < 0 else "") + " ".join(parts)


def counted(n: int, noun: str) -> str:
    """So many of a thing, in the plural but for one: ``1 record``, ``12,000 records``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _rounded(value: float) -> str:
    """Four significant digits, whole numbers in full, thousands marked."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
