"""Values, limits and durations as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts.quantities import (
    as_limit,
    as_written,
    counted,
    duration,
    exactly,
    quantity,
    rounded,
)
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
        (2 * DAY + 3 * HOUR + 30 * MINUTE, "2 days 4 h"),
        (2 * DAY - MINUTE, "2 days"),
        (HOUR + MINUTE + 59 * SECOND, "1 h 2 min"),
        (HOUR - 400, "1 h"),
        (MINUTE - 400, "1 min"),
        (12_345, "12 s"),
        (9_960, "10 s"),
        (1_999, "2 s"),
        (1_500, "1.5 s"),
        (-1_500, "-1.5 s"),
    ],
)
def test_a_duration_has_two_units_and_is_rounded(ms: int, shown: str) -> None:
    assert duration(ms) == shown


@pytest.mark.parametrize(
    ("kpi", "value", "shown"),
    [("art", 86_400.0, "1 day"), ("csat", 0.075, "7.5%"), ("clv", 123_456.7, "123,457")],
)
def test_a_value_has_its_unit(kpi: str, value: float, shown: str) -> None:
    assert quantity(KPIS[kpi], value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.5 s"),
        (1.999, "1.999 s"),
        (0.25, "250 ms"),
        (90.5, "1 min 30.5 s"),
        (3_723.0, "1 h 2 min 3 s"),
        (90_061.0, "1 day 1 h 1 min 1 s"),
        (0.1 + 0.2, "300 ms"),
        (3_723.456_789, "1 h 2 min"),
        (None, "unknown"),
    ],
)
def test_a_threshold_of_a_time_is_no_other_number(value: float | None, shown: str) -> None:
    assert as_limit(KPIS["art"], value) == shown


_SIZES = {"day": DAY, "days": DAY, "h": HOUR, "min": MINUTE, "s": SECOND, "ms": 1}


@given(st.integers(-(10**12), 10**12))
def test_what_is_shown_exactly_can_be_read_back_and_else_is_within_a_twentieth(ms: int) -> None:
    def read(text: str) -> float:
        words = text.removeprefix("-").split()
        pairs = zip(words[::2], words[1::2], strict=True)
        size = sum(float(number) * _SIZES[unit] for number, unit in pairs)
        return -size if text.startswith("-") else size

    assert round(read(exactly(ms))) == ms
    assert abs(read(duration(ms)) - ms) <= abs(ms) / 20
    assert len(duration(ms).split()) <= 4


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (1_600.0, 3, "1,600"),
        (100.0, 2, "100"),
        (99.7, 2, "100"),
        (7.25, 2, "7.2"),
        (12_340.0, 4, "12,340"),
        (999.96, 4, "1,000"),
        (41.234, 4, "41.23"),
        (0.0, 3, "0"),
    ],
)
def test_a_number_is_rounded_but_never_to_a_power_of_ten(
    value: float, digits: int, shown: str
) -> None:
    assert rounded(value, digits) == shown


@pytest.mark.parametrize(
    ("kpi", "value", "shown"),
    [
        ("art", 3_723.0, "3723 s (1 h 2 min 3 s)"),
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
