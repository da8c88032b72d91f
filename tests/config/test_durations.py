"""Durations as text and as milliseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import durations

DAY = 86_400_000


@given(st.integers(min_value=0, max_value=400 * DAY))
def test_any_length_survives_being_written_and_read(milliseconds: int) -> None:
    assert durations.parse(durations.label(milliseconds)) == milliseconds


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from(list(durations.MILLISECONDS)))
def test_two_texts_of_one_length_have_one_label(number: int, unit: str) -> None:
    length = durations.parse(f"{number}{unit}")
    assert length == number * durations.MILLISECONDS[unit]
    assert durations.label(durations.parse(durations.label(length))) == durations.label(length)


@pytest.mark.parametrize(
    ("text", "milliseconds", "label"),
    [
        ("250ms", 250, "250ms"),
        ("1000ms", 1_000, "1s"),
        ("5s", 5_000, "5s"),
        ("90s", 90_000, "90s"),
        ("60m", 3_600_000, "1h"),
        ("24h", DAY, "24h"),
        ("1d", DAY, "24h"),
        ("48h", 2 * DAY, "2d"),
        ("7d", 7 * DAY, "7d"),
        ("30d", 30 * DAY, "30d"),
        ("0s", 0, "0s"),
        ("0", 0, "0s"),
    ],
)
def test_the_label_has_the_largest_unit_that_fits(text: str, milliseconds: int, label: str) -> None:
    assert durations.parse(text) == milliseconds
    assert durations.label(milliseconds) == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "1.5h",
        "5 s",
        " 5s",
        "5s\n",
        "5S",
        "5min",
        "1h30m",
        "٥s",
    ],
)
def test_other_forms_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        durations.parse(text)


@pytest.mark.parametrize("digits", [16, 23, 10_000])
def test_a_duration_of_too_many_digits_is_too_long_and_no_other_form(digits: int) -> None:
    with pytest.raises(durations.TooLong, match="longer than any duration may be"):
        durations.parse("9" * digits + "s")
