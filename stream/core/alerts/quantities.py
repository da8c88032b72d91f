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
        return f"{rounded(100 * value)}%"
    if kpi is not None and kpi.unit == "seconds":
        return duration(round(value * SECOND))
    return rounded(value)


def as_written(kpi: HasUnit | None, value: float) -> str:
    """A limit as a configuration has it; of seconds also as people read them."""
    plain = f"{value:.12g}"
    if kpi is None or kpi.unit != "seconds":
        return plain
    return f"{plain} s" + (f" ({exactly(round(value * SECOND))})" if abs(value) >= 60 else "")


def as_limit(kpi: HasUnit | None, value: float | None) -> str:
    """A threshold in its unit: as a value, but that no second of a time is rounded away."""
    if kpi is not None and kpi.unit == "seconds" and value is not None:
        ms = round(float(value * SECOND), 6)
        # What is no whole number of them nobody has written: it was computed.
        if ms.is_integer():
            return exactly(int(ms))
    return quantity(kpi, value)


def duration(ms: int) -> str:
    """A duration by its two longest units: ``2 days 3 h``, ``1 h 30 min``, ``4.2 s``, ``250 ms``.

    It is rounded to the shorter one, below ten seconds to tenths.
    """
    size = abs(ms)
    if size < SECOND:
        return f"{ms} ms"
    shorter = {DAY: HOUR, HOUR: MINUTE}
    longest = next(unit for unit, _ in UNITS if size >= unit)
    step = SECOND // 10 if size < 10 * SECOND else shorter.get(longest, SECOND)
    nearest = (size + step // 2) // step * step
    return exactly(-nearest if ms < 0 else nearest)


def exactly(ms: int) -> str:
    """A duration to the millisecond: ``1 h 2 min 3 s``, ``1.999 s``."""
    rest = abs(ms)
    if rest < SECOND:
        return f"{ms} ms"
    parts: list[str] = []
    for size, name in UNITS[:-1]:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}{'s' if name == 'day' and count > 1 else ''}")
    if rest:
        parts.append(f"{rest / SECOND:g} s")
    return ("-" if ms < 0 else "") + " ".join(parts)


def counted(n: int, noun: str) -> str:
    """So many of a thing, in the plural but for one: ``1 record``, ``12,000 records``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def rounded(value: float, digits: int = 4) -> str:
    """So many significant digits, whole numbers in full, thousands marked."""
    text = f"{value:.{digits}g}"
    whole = abs(float(text)) >= 10 ** (digits - 1)
    return f"{value:,.0f}" if whole else text
