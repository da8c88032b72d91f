"""Values, limits and durations as people read them."""

from __future__ import annotations

import pytest

from stream.core.alerts.quantities import as_written, counted, duration, quantity
from stream.core.catalogue import KPIS
from stream.core.settings import DAY, HOUR, MINUTE, SECOND


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (250, "250 ms"),
        (45 * SECOND, "45 s"),
        (90 * MINUTE, "1 h 30 min"),
        (DAY, "1 day"),
        (-DAY, "-1 day"),
        (2 * DAY + 3 * HOUR + MINUTE, "2 days 3 h"),
    ],
)
def test_a_duration_has_two_units(ms: int, shown: str) -> None:
    assert duration(ms) == shown


@pytest.mark.parametrize(
    ("kpi", "value", "shown"),
    [("art", 86_400.0, "1 day"), ("csat", 0.075, "7.5%"), ("clv", 123_456.7, "123,457")],
)
def test_a_value_has_its_unit(kpi: str, value: float, shown: str) -> None:
    assert quantity(KPIS[kpi], value) == shown


@pytest.mark.parametrize(
    ("kpi", "value", "shown"),
    [
        ("art", 86_400.0, "86400 s (1 day)"),
        ("art", 45.0, "45 s"),
        ("csat", 0.075, "0.075"),
        ("clv", 1_234_567.5, "1234567.5"),
    ],
)
def test_a_limit_is_as_it_was_written_and_long_times_also_in_words(
    kpi: str, value: float, shown: str
) -> None:
    assert as_written(KPIS[kpi], value) == shown


@pytest.mark.parametrize(
    ("n", "said"), [(0, "0 records"), (1, "1 record"), (2, "2 records"), (12_000, "12,000 records")]
)
def test_one_thing_is_told_in_the_singular_and_any_other_number_in_the_plural(
    n: int, said: str
) -> None:
    assert counted(n, "record") == said
