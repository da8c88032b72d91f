"""Numbers as people read them in a narrow column."""

from __future__ import annotations

from stream.core.text import printable

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LARGE = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float | None, unit: str, width: int | None = None) -> str:
    """A value in its unit; nothing to tell is a dash.

    Where there is no room for it in a column of ``width``, decimals go, then thousands.
    """
    if value is None:
        return "–"
    if unit == "ratio":
        return f"{100 * value:.{_decimals(100 * value)}f}%"
    if unit == "seconds":
        return duration(value)
    is_whole = float(value).is_integer() and unit not in {"points", "currency"}
    return _fitting(value, 0 if is_whole else _decimals(value), width)


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
    days = seconds / _DAY
    return f"{days:.1f} d" if days < 999.95 else f"{days:,.0f} d"


def count(value: float, width: int | None = None) -> str:
    """A whole number, the larger the shorter; one that fits a column of ``width``."""
    if width is not None:
        return _fitting(value, 0, width)
    for limit, factor, suffix in ((1e12, 1e9, "G"), (1e9, 1e6, "M"), (1e7, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / factor:,.0f}{suffix}"
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """A rate per second."""
    return f"{value:,.0f}/s" if value >= 10 or value == 0 else f"{value:.1f}/s"


def _fitting(value: float, decimals: int, width: int | None) -> str:
    """The number, the more precise the better as far as there is room."""
    texts = [f"{value:,.{n}f}" for n in range(decimals, -1, -1)]
    # From 999.5 thousand on it is a million, or it would be rounded up to 1,000k.
    scale = next(((f, suffix) for f, suffix in _LARGE if abs(value) >= 0.9995 * f), None)
    if scale is not None:
        factor, suffix = scale
        texts += [f"{value / factor:,.{n}f}{suffix}" for n in (2, 1, 0)]
    return next((t for t in texts if width is None or len(t) <= width), texts[-1])


def _decimals(value: float) -> int:
    """Enough of them for three digits, but not more than three."""
    return 3 if 0 < abs(value) < 1 else 2 if abs(value) < 10 else 1


def _short(value: float, decimals: int) -> str:
    # Adding 0 makes a negative zero positive.
    return f"{round(value, decimals) + 0.0:.{decimals}f}".removesuffix(".0")


def safe(text: str) -> str:
    """``printable`` for a terminal that may do nothing but ASCII."""
    return printable(text, "?")
