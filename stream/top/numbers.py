"""Numbers as people read them in a narrow column."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def number(value: float | None, unit: str) -> str:
    """A value in its unit; nothing to tell is a dash."""
    if value is None:
        return "–"
    if unit == "ratio":
        return f"{100 * value:.{_decimals(100 * value)}f}%"
    if unit == "seconds":
        return duration(value)
    if float(value).is_integer() and unit not in {"points", "currency"}:
        return f"{value:,.0f}"
    return f"{value:,.{_decimals(value)}f}"


def interval(lower: float | None, upper: float | None, unit: str, width: int = 13) -> str:
    """The bounds of a value, without their unit; empty where there are none.

    Decimals go where there is no room for them.
    """
    if lower is None or upper is None:
        return ""
    factor = 100 if unit == "ratio" else 1
    small = unit == "ratio" and 0 < factor * upper < 10
    most = _decimals(factor * upper) if small else 1
    texts = [
        f"{_short(factor * lower, decimals)}…{_short(factor * upper, decimals)}"
        for decimals in range(most, -1, -1)
    ]
    return next((text for text in texts if len(text) <= width), texts[-1])


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.{1 if seconds < 0.00995 else 0}f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)  # Else the smaller unit may be rounded up to 60.
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m {seconds % _MINUTE:02}s"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR}h {seconds % _HOUR // _MINUTE:02}m"
    return f"{seconds / _DAY:.1f} d"


def count(value: float) -> str:
    """A whole number, the larger the shorter."""
    for limit, factor, suffix in ((1e12, 1e9, "G"), (1e9, 1e6, "M"), (1e7, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / factor:,.0f}{suffix}"
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """A rate per second."""
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"


def _decimals(value: float) -> int:
    """Enough of them for three digits, but not more than three."""
    return 3 if 0 < abs(value) < 1 else 2 if abs(value) < 10 else 1


def _short(value: float, decimals: int) -> str:
    # Adding 0 makes a negative zero positive.
    return f"{round(value, decimals) + 0.0:.{decimals}f}".removesuffix(".0")


def safe(text: str) -> str:
    """Text from outside without what a terminal would obey: control and format characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
