"""RFC 3339 date-times to milliseconds since the epoch, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.cells import Ints
from stream.core.event import Refused
from stream.core.settings import DAY, HOUR, MINUTE, SECOND

#: How many minutes are remembered; 7 days have 10,080.
MEMO_BOUND: Final = 1 << 15

#: What a date-time looks like; the calendar and second 60 are checked apart. Digits are ASCII.
PATTERN: Final = (
    "^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    "[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.][0-9]+)?"
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_MATCH: Final = re.compile(PATTERN.removesuffix("$") + r"\Z").match
_EPOCH: Final = date(1970, 1, 1).toordinal()

# The usual forms, 2026-03-02T10:00:00.000Z and without fraction, are the sum of three or two
# look-ups. The minutes fill up as they come, once the long way has found them valid.
_MINUTES: Final[dict[str, int]] = {}
_SECONDS: Final = {f"{s:02}.": s * SECOND for s in range(60)}
_MILLISECONDS: Final = {f"{ms:03}{z}": ms for ms in range(1000) for z in "Zz"}
_WHOLE_SECONDS: Final = {f"{s:02}{z}": s * SECOND for s in range(60) for z in "Zz"}
# The usual form, column by column.
_USUAL_LENGTH: Final = 24
# What follows its minute, two letters at a time: what each pair adds, in ms.
_PAIR: Final = np.dtype("<u2")
_NO_PAIR: Final = -MINUTE


def _pairs(ms: Mapping[str, int]) -> NDArray[np.int32]:
    """What two letters stand for, by their code; ``_NO_PAIR`` for others."""
    found = np.full(1 << 16, _NO_PAIR, dtype=np.int32)
    found[np.frombuffer("".join(ms).encode(), dtype=_PAIR)] = list(ms.values())
    return found


_END: Final = (
    _pairs({f":{s}": 10 * s * SECOND for s in range(6)}),
    _pairs({f"{s}.": s * SECOND for s in range(10)}),
    _pairs({f"{cs:02}": 10 * cs for cs in range(100)}),
    _pairs({f"{ms}Z": ms for ms in range(10)}),
)
#: Times are read minute by minute where so many, on average, follow each other in one.
_IN_A_MINUTE: Final = 8
_DIGITS: Final = np.array([*range(4), 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 22])
_MARKS: Final = np.array([4, 7, 10, 13, 16, 19, 23])
_USUAL_MARKS: Final = np.frombuffer(b"--T::.Z", dtype=np.uint8)
_DAYS_OF_MONTH: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


def parse(text: str) -> int:
    """Milliseconds since the epoch; digits beyond the millisecond are cut.

    Second 60 is read where a leap second can be, at 23:59:60 UTC, as the first of the next day.

    Raises:
        Refused: not an RFC 3339 date-time with seconds and offset, or no day of the calendar.
    """
    try:
        if len(text) == 24:
            return _MINUTES[text[:17]] + _SECONDS[text[17:20]] + _MILLISECONDS[text[20:]]
        if len(text) == 20:
            return _MINUTES[text[:17]] + _WHOLE_SECONDS[text[17:]]
    except KeyError:
        pass
    return _read(text)


def parse_all(texts: Sequence[str]) -> Ints:
    """``parse`` of many, quick where all have the form 2026-03-02T10:00:00.000Z.

    Raises:
        Refused: as ``parse``, for the first that can't be read.
    """
    joined = "".join(texts)
    if set(map(len, texts)) == {_USUAL_LENGTH} and joined.isascii():
        for read in (_read_by_minute, _read_by_column):
            found = read(joined, len(texts))
            if found is not None:
                return found
    return np.fromiter(map(parse, texts), dtype=np.int64, count=len(texts))


def _read_by_minute(joined: str, count: int) -> Ints | None:
    """Texts of the usual form that stand in few minutes; None where any may be another."""
    pairs = np.frombuffer(joined.encode(), dtype=_PAIR).reshape(count, _USUAL_LENGTH // 2)
    ends = [table.take(pairs[:, 8 + i]) for i, table in enumerate(_END)]
    at: Ints = ends[0] + ends[1] + ends[2] + ends[3]
    if at.min() < 0:
        return None
    firsts = [0]
    if (pairs[:, :8] != pairs[0, :8]).any():
        starts = np.flatnonzero((pairs[1:, :8] != pairs[:-1, :8]).any(axis=1)) + 1
        if starts.size * _IN_A_MINUTE > count:
            return None
        firsts += starts.tolist()
    try:
        times = [parse(joined[_USUAL_LENGTH * i : _USUAL_LENGTH * (i + 1)]) for i in firsts]
    except Refused:
        return None
    if len(times) == 1:
        return at + np.int64(times[0] - at.item(0))
    return at + np.repeat(np.array(times) - at[firsts], np.diff([*firsts, count]))


def _read_by_column(joined: str, count: int) -> Ints | None:
    """Texts of the usual form and of times that there are; None where any may be another."""
    letters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(count, _USUAL_LENGTH)
    digits = letters[:, _DIGITS].T.astype(np.int64) - ord("0")
    if ((digits < 0) | (digits > 9)).any() or (letters[:, _MARKS] != _USUAL_MARKS).any():
        return None
    year = 1000 * digits[0] + 100 * digits[1] + 10 * digits[2] + digits[3]
    month, day = 10 * digits[4] + digits[5], 10 * digits[6] + digits[7]
    hour, minute = 10 * digits[8] + digits[9], 10 * digits[10] + digits[11]
    second = 10 * digits[12] + digits[13]
    # The 29th of February and leap seconds are looked at one by one.
    if (
        ((month < 1) | (month > 12) | (day < 1) | (hour > 23) | (minute > 59) | (second > 59)).any()
        or (year < 1).any()
        or (day > _DAYS_OF_MONTH[month]).any()
    ):
        return None
    months = (year - 1970) * 12 + month - 1
    first: Ints = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    minutes = ((first + day - 1) * 24 + hour) * 60 + minute
    ms: Ints = 100 * digits[14] + 10 * digits[15] + digits[16]
    at: Ints = minutes * MINUTE + second * SECOND + ms
    return at


def _read(text: str) -> int:
    """``parse`` for all forms."""
    if not _MATCH(text):
        raise Refused("is not an RFC 3339 date-time such as 2026-03-02T10:00:00.000Z")
    minute = _MINUTES.get(text[:17])
    if minute is None:
        minute = _remember(text[:17])
    at = minute + int(text[17:19]) * SECOND
    if text[19] == ".":
        fraction = text[20:23]
        while not fraction.isdigit():
            fraction = fraction[:-1]
        at += int(fraction.ljust(3, "0"))
    if text[-1] not in "Zz":
        offset = int(text[-5:-3]) * HOUR + int(text[-2:]) * MINUTE
        at += offset if text[-6] == "-" else -offset
    if text[17:19] == "60" and at % DAY >= SECOND:
        raise Refused("has a second 60, which there is at 23:59:60 UTC only")
    return at


def _remember(prefix: str) -> int:
    """The first millisecond of a minute such as ``2026-03-02T10:00:``."""
    try:
        day = date(int(prefix[:4]), int(prefix[5:7]), int(prefix[8:10])).toordinal()
    except ValueError:
        raise Refused("is no day of the calendar") from None
    minute = (day - _EPOCH) * DAY + int(prefix[11:13]) * HOUR + int(prefix[14:16]) * MINUTE
    if len(_MINUTES) >= MEMO_BOUND:
        _MINUTES.clear()
    _MINUTES[prefix] = minute
    return minute


def format_ms(ms: int) -> str:
    """``ms`` as UTC, always with milliseconds: ``2026-03-02T10:00:00.000Z``."""
    return f"{np.datetime64(ms, 'ms')}Z"
