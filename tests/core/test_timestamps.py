from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import timestamps
from stream.core.event import Refused
from stream.core.timestamps import format_ms, parse, parse_all
from tests.strategies import timestamps as date_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = (datetime(1, 1, 2, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)
LAST = (datetime(9999, 12, 30, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-02T10:00:00Z", "2026-03-02T10:00:00.000Z"),
        ("2026-03-02t10:00:00z", "2026-03-02T10:00:00.000Z"),
        ("2026-03-02T10:00:00.5Z", "2026-03-02T10:00:00.500Z"),
        ("2026-03-02T10:00:00.05+00:00", "2026-03-02T10:00:00.050Z"),
        ("2026-03-02T10:00:00.1239Z", "2026-03-02T10:00:00.123Z"),
        ("2026-03-02T09:59:59.999999999999999999999Z", "2026-03-02T09:59:59.999Z"),
        ("2026-03-02T12:00:00+02:00", "2026-03-02T10:00:00.000Z"),
        ("2026-03-02T04:30:00.250-05:30", "2026-03-02T10:00:00.250Z"),
        ("2026-03-02T10:00:00-00:00", "2026-03-02T10:00:00.000Z"),
        ("2026-03-01T10:01:00-23:59", "2026-03-02T10:00:00.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2017-01-01T01:29:60.25+01:30", "2017-01-01T00:00:00.250Z"),
    ],
)
def test_a_date_time_is_read_to_the_millisecond(text: str, utc: str) -> None:
    assert format_ms(parse(text)) == utc
    # The second time the minute is known, which is another way through the code.
    assert format_ms(parse(text)) == utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2026-03-02",
        "2026-03-02T10:00Z",
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00Z",
        "2026-03-02T10:00:00+0100",
        "2026-03-02T10:00:00+01",
        "2026-03-02T10:00:00+24:00",
        "2026-03-02T10:00:00+01:60",
        "2026-03-02T10:00:00.Z",
        "2026-03-02T10:00:00.00ZZ",
        "2026-03-02T10:00:00Z000Z",
        "2026-03-02T10:00:00,000Z",
        "2026-03-02T24:00:00.000Z",
        "2026-03-02T10:60:00.000Z",
        "2026-03-02T10:00:60.000Z",
        "2026-03-02T10:00:61.000Z",
        "2016-12-31T23:59:60+01:00",
        "2026-02-29T10:00:00.000Z",
        "2100-02-29T10:00:00.000Z",
        "2026-04-31T10:00:00.000Z",
        "2026-00-02T10:00:00.000Z",
        "2026-13-02T10:00:00.000Z",
        "2026-03-00T10:00:00.000Z",
        "2026-03-32T10:00:00.000Z",
        "0000-03-02T10:00:00.000Z",
        "-2026-03-02T10:00:00.00Z",
        "12026-03-02T10:00:00Z",
        " 2026-03-02T10:00:00Z",
        "2026-03-02T10:00:00Z\n",
        "2026-03-02T10:00:00.000z ",
        "2026-03-02T10:00:0\u0663Z",
        "2026-03-02T10:00:00.\u0660\u0660\u0660Z",
        "\uff12026-03-02T10:00:00Z",
        "2026-03-02T10:00:00\u221201:00",
        "20260302T100000Z",
        "2026-W10-1T10:00:00Z",
        "1772445600",
    ],
)
def test_what_is_no_rfc_3339_date_time_is_refused(text: str) -> None:
    parse("2026-03-02T10:00:00.000Z")  # The minute of most of them is known then.
    with pytest.raises(Refused):
        parse(text)


@given(st.integers(FIRST, LAST))
def test_formatting_and_parsing_are_inverse(ms: int) -> None:
    assert parse(format_ms(ms)) == ms
    assert format_ms(ms) == (EPOCH + timedelta(milliseconds=ms)).isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")


@given(date_times(FIRST, LAST))
def test_parsing_agrees_with_the_standard_library(text: str) -> None:
    expected = (datetime.fromisoformat(text.upper()) - EPOCH) // timedelta(milliseconds=1)
    assert parse(text) == expected


@given(st.text("0123456789-:.TtZz+ ", max_size=26))
def test_a_text_is_read_or_refused_but_never_anything_else(text: str) -> None:
    try:
        at = parse(text)
    except Refused:
        return
    assert at == parse(text)


def test_the_memo_of_minutes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamps, "MEMO_BOUND", 10)
    timestamps._MINUTES.clear()
    for minute in range(60):
        parse(f"2026-03-02T10:{minute:02}:00Z")
        assert len(timestamps._MINUTES) <= 10
    assert parse("2026-03-02T10:59:00Z") - parse("2026-03-02T10:00:00Z") == 59 * 60_000


def together(texts: list[str]) -> list[int]:
    """``parse_all`` as it reads many."""
    with mock.patch.object(timestamps, "_FEW", 0):
        found: list[int] = parse_all(texts).tolist()
    return found


def read(text: str) -> int | None:
    try:
        return parse(text)
    except Refused:
        return None


@pytest.mark.parametrize("year", [1, 1900, 1970, 2000, 2026, 2028, 2100, 9999])
def test_many_are_read_as_each_on_every_day_that_there_is_and_is_not(year: int) -> None:
    for month in range(14):
        days = [f"{year:04}-{month:02}-{day:02}T23:59:58.007Z" for day in range(33)]
        good = [text for text in days if read(text) is not None]
        if good:
            assert together(good) == [parse(text) for text in good]
        for text in set(days) - set(good):
            with pytest.raises(Refused):
                together([*good, text])


@pytest.mark.parametrize(
    "clock", ["24:00:00", "29:59:59", "12:60:00", "12:34:60", "23:59:60", "23:59:59"]
)
def test_many_are_read_as_each_at_the_ends_of_a_day(clock: str) -> None:
    text, other = f"2026-12-31T{clock}.999Z", "2026-12-31T12:00:00.000Z"
    for texts in ([text], [text, other], [other, text]):
        if read(text) is None:
            with pytest.raises(Refused):
                together(texts)
        else:
            assert together(texts) == list(map(parse, texts))


@given(
    st.sampled_from([1_709_251_200_000, 946_684_800_000]),
    st.lists(st.integers(-90_000, 90_000), min_size=1, max_size=60),
    st.integers(0, 23),
    st.text("0123456789-:.TtZz", min_size=1, max_size=1),
    st.booleans(),
)
def test_times_of_two_days_or_centuries_are_read_together_as_each(
    midnight: int, offsets: list[int], place: int, letter: str, spoils: bool
) -> None:
    texts = [format_ms(midnight + ms) for ms in offsets]
    if spoils:
        middle = len(texts) // 2
        texts[middle] = texts[middle][:place] + letter + texts[middle][place + 1 :]
    each = [read(text) for text in texts]
    if None in each:
        with pytest.raises(Refused):
            together(texts)
    else:
        assert together(texts) == each


@given(st.integers(0, 23), st.integers(1, 5))
def test_a_text_that_is_too_long_is_not_made_good_by_a_short_one(cut: int, more: int) -> None:
    texts = ["2026-03-02T10:00:00.967Z"] * 4
    joined = "".join(texts)
    ends = [24 + more, 48, 72, 96]
    shifted = [joined[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert "".join(shifted) == joined
    with pytest.raises(Refused):
        together([*texts[:cut], *shifted])


def test_a_day_of_two_centuries_is_two_days() -> None:
    texts = ["1999-12-31T10:00:00.000Z", "2099-12-31T10:00:00.000Z"] * 8
    assert together(texts) == [parse(text) for text in texts]


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65])
def test_few_are_read_as_many(count: int) -> None:
    texts = [format_ms(1_770_000_000_000 + 997 * i) for i in range(count)]
    assert parse_all(texts).tolist() == [parse(text) for text in texts]
