"""RFC 3339 date-times to milliseconds since the epoch, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.event import Refused
from stream.core.integers import Ints, distinct
from stream.core.settings import DAY, HOUR, MINUTE, SECOND

#: How many minutes are remembered; 7 days have 10,080.
MEMO_BOUND: Final = 1 << 15

#: What a date-time looks like; the calendar and second 60 are checked apart. Digits are ASCII.
PATTERN: Final = (
    "^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    "[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.][0-9]+)?"
    "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
# Possessive, since no digit that is given back makes a long fraction match: one look is enough.
_MATCH: Final = re.compile(PATTERN.replace("]+)?", "]++)?").removesuffix("$") + r"\Z").match
_EPOCH: Final = date(1970, 1, 1).toordinal()

# The usual forms, 2026-03-02T10:00:00.000Z and without fraction, are the sum of three or two
# look-ups. The minutes fill up as they come, once the long way has found them valid.
_MINUTES: Final[dict[str, int]] = {}
_SECONDS: Final = {f"{s:02}.": s * SECOND for s in range(60)}
_MILLISECONDS: Final = {f"{ms:03}{z}": ms for ms in range(1000) for z in "Zz"}
_WHOLE_SECONDS: Final = {f"{s:02}{z}": s * SECOND for s in range(60) for z in "Zz"}
# The usual form, two letters at a time.
_USUAL_LENGTH: Final = 24
_PAIR: Final = np.dtype("<u2")
#: Less than nothing, whatever the others come to.
_NO_PAIR: Final = -2 * DAY


def _pairs(ms: Mapping[str, int]) -> NDArray[np.int32]:
    """What two letters stand for, by their code; ``_NO_PAIR`` for others."""
    found = np.full(1 << 16, _NO_PAIR, dtype=np.int32)
    found[np.frombuffer("".join(ms).encode(), dtype=_PAIR)] = list(ms.values())
    return found


#: What follows the date: what each pair adds, in ms. Hours beyond 23 show in the sum.
_CLOCK: Final = (
    _pairs({f"T{h}": 10 * h * HOUR for h in range(3)}),
    _pairs({f"{h}:": h * HOUR for h in range(10)}),
    _pairs({f"{m:02}": m * MINUTE for m in range(60)}),
    _pairs({f":{s}": 10 * s * SECOND for s in range(6)}),
    _pairs({f"{s}.": s * SECOND for s in range(10)}),
    _pairs({f"{cs:02}": 10 * cs for cs in range(100)}),
    _pairs({f"{ms}Z": ms for ms in range(10)}),
)
_DATE_LENGTH: Final = 10
#: Dates are read once each where there are so many times, on average, of one.
_OF_A_DAY: Final = 8
#: Fewer times are quicker one by one.
_FEW: Final = 64


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
    if len(texts) >= _FEW and set(map(len, texts)) == {_USUAL_LENGTH}:
        joined = "".join(texts)
        found = _read_by_day(joined, len(texts)) if joined.isascii() else None
        if found is not None:
            return found
    return np.fromiter(map(parse, texts), dtype=np.int64, count=len(texts))


def _read_by_day(joined: str, count: int) -> Ints | None:
    """Texts of the usual form that are of few days; None where any may be another."""
    letters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(count, _USUAL_LENGTH)
    pairs = letters.view(_PAIR)[:, _DATE_LENGTH // 2 :]
    clock = np.zeros(count, dtype=np.int32)
    for i, table in enumerate(_CLOCK):
        clock += table.take(pairs[:, i])
    if clock.min() < 0 or clock.max() >= DAY:
        return None
    examples, which = [0], np.zeros(1, dtype=np.int64)
    dates = letters[:, :_DATE_LENGTH]
    if (dates != dates[0]).any():
        if (dates[:, :2] != dates[0, :2]).any():
            return None
        # Of one century, so that what else tells a date fits into a number.
        numbers = dates[:, 2:].copy().view(np.int64)[:, 0]
        known = distinct(numbers)
        if known.size * _OF_A_DAY > count:
            return None
        which = np.searchsorted(known, numbers)
        places = np.empty(known.size, dtype=np.int64)
        places[which] = np.arange(count)
        examples = places.tolist()
    try:
        days = [
            parse(joined[_USUAL_LENGTH * i : _USUAL_LENGTH * (i + 1)]) - clock.item(i)
            for i in examples
        ]
    except Refused:
        return None
    at: Ints = clock + np.array(days)[which]
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
