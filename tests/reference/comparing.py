"""Where values of the product and of the reference differ, in words."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from tests.reference.reading import Reading
from tests.reference.rows import Labels, Row, quantile_choices, rows

Key = tuple[str, str, Labels]
Numbers = tuple[float | None, ...]


class Value(Protocol):
    """A series' value, as either side has it."""

    @property
    def kpi(self) -> str: ...
    @property
    def window(self) -> str: ...
    @property
    def labels(self) -> Labels: ...
    @property
    def value(self) -> float | None: ...
    @property
    def lower(self) -> float | None: ...
    @property
    def upper(self) -> float | None: ...
    @property
    def numerator(self) -> float | None: ...
    @property
    def denominator(self) -> float | None: ...


def by_key(found: Sequence[Row] | Sequence[Value]) -> dict[Key, Numbers]:
    """The numbers of each series that has any."""
    return {
        (r.kpi, r.window, tuple(r.labels)): (
            r.value,
            r.lower,
            r.upper,
            r.numerator,
            r.denominator,
        )
        for r in found
        if r.value is not None or r.numerator or r.denominator
    }


def are_close(a: float | None, b: float | None) -> bool:
    """Equal but for the rounding of floats and of fixed point."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=2e-9)


def differences(reading: Reading, found: Sequence[Value], at: int) -> list[str]:
    """Each series of which the reference says something else at a time."""
    wanted = rows(reading, at)
    expected = by_key(wanted)
    got = by_key([s for s in found if s.kpi != "art_quantile"])
    told = [
        f"{' '.join(map(str, key))}: core {got.get(key)}, reference {expected.get(key)}"
        for key in sorted(expected.keys() | got.keys())
        if key not in expected or key not in got or not all(map(are_close, expected[key], got[key]))
    ]
    with_tickets = {(r.window, r.labels) for r in wanted if r.kpi == "art"}
    quantiles = [s for s in found if s.kpi == "art_quantile"]
    return [*told, *_quantiles(reading, with_tickets, quantiles, at)]


def _quantiles(
    reading: Reading,
    with_tickets: Collection[tuple[str, Labels]],
    found: Sequence[Value],
    at: int,
) -> Iterator[str]:
    told: dict[tuple[str, Labels], dict[str, float | None]] = {}
    for sample in found:
        labels = tuple(x for x in sample.labels if x[0] != "quantile")
        quantile = dict(sample.labels)["quantile"]
        told.setdefault((sample.window, labels), {})[quantile] = sample.value
    if told.keys() != set(with_tickets):
        yield f"quantiles of {sorted(told)}, tickets of {sorted(with_tickets)}"
        return
    for (window, labels), values in told.items():
        for quantile in ("0.5", "0.9", "0.99"):
            value = values.get(quantile)
            choices = quantile_choices(reading, window, labels, float(quantile), at)
            if value is None or not any(math.isclose(value, c, rel_tol=0.01) for c in choices):
                yield f"quantile {quantile} {window} {labels}: core {value}, one of {choices}"


def differing(
    found: Mapping[Key, Numbers], expected: Mapping[Key, Numbers]
) -> dict[Key, tuple[Numbers | None, Numbers | None]]:
    """The series whose numbers are not close, or that only one of them has, with both's numbers."""
    nothing = (None,) * 5
    return {
        key: (found.get(key), expected.get(key))
        for key in found.keys() | expected.keys()
        if not all(map(are_close, found.get(key, nothing), expected.get(key, nothing)))
    }
