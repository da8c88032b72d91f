"""A refused record, laid out to be read, with the place marked that it was refused for."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from stream.core.alerts.quantities import counted
from stream.core.escape import escaped, quoted, width

#: Of a record so many lines are shown, and so many around the marked one.
HEAD: Final = 60
AROUND: Final = 5
#: Of what is no JSON so many bytes are shown in a line, and so many lines.
ROW: Final = 64
_ROWS: Final = 16

#: Paths in headers are cut after so many characters, names of labels and emotions even before.
_CUT: Final = 64
_INDENT: Final = "  "
_AT_BYTE: Final = re.compile(r"\(byte (\d{1,18})\)")


class Line(NamedTuple):
    """A line, fit for a terminal; ``length`` columns from ``start`` on are what is wrong, if > 0.

    ``note`` says something on the mark that the reason does not.
    """

    text: str
    start: int = 0
    length: int = 0
    note: str = ""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """The members of an object in their order, repeated names too."""

    __slots__ = ()


class _Place(NamedTuple):
    """Which child to go to, level by level, and what is missing there."""

    way: tuple[int, ...]
    missing: str = ""


def marked(value: bytes | None, path: str, reason: str) -> list[Line]:
    """The record: JSON indented, with the line of the field ``path`` marked; else its bytes.

    Long records are cut, but the marked line is always there. It is never wider than its names and
    values of ``escape.LONGEST`` characters make it.
    """
    if value is None:
        return [Line("(no value)")]
    try:
        tree = json.loads(
            value.decode(),
            object_pairs_hook=_Object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse,
        )
        lines = _excerpt(_lines(tree, "", "", "", _find(tree, path)))
    except (ValueError, RecursionError):
        return _raw(value, reason)
    return lines


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _find(tree: Any, path: str) -> _Place:
    """Where a path leads. Names may hold dots themselves, and may have been cut."""
    way: list[int] = []
    if path in ("", "$"):
        return _Place(())
    rest = path
    node = tree
    while rest:
        step = _step(node, rest)
        if step is None:
            return _Place(tuple(way), rest)
        index, rest = step
        way.append(index)
        node = node[index][1] if isinstance(node, _Object) else node[index]
    return _Place(tuple(way))


def _step(node: Any, rest: str) -> tuple[int, str] | None:
    """The child that a path goes on with, and the rest of the path; None: there is none."""
    if not isinstance(node, _Object):
        return None
    found: tuple[int, str] | None = None
    longest = -1
    for index, (name, _) in enumerate(node):
        # Of a repeated name the last one counts, as to all that read JSON.
        if rest == name or (len(rest) >= _CUT and name.startswith(rest)):
            left, size = "", len(rest)
        elif rest.startswith(f"{name}."):
            left, size = rest[len(name) + 1 :], len(name)
        else:
            continue
        if size >= longest:
            found, longest = (index, left), size
    return found


def _lines(node: Any, indent: str, head: str, tail: str, place: _Place | None) -> Iterator[Line]:
    """The lines of a node; ``head`` is its name, ``tail`` the comma, ``place`` its mark."""
    if isinstance(node, _Object):
        children = [(f"{quoted(name)}: ", child) for name, child in node]
        opening, closing = "{", "}"
    elif isinstance(node, list):
        children = [("", child) for child in node]
        opening, closing = "[", "]"
    else:
        yield _line(indent, f"{head}{_scalar(node)}", tail, place)
        return
    if not children:
        yield _line(indent, f"{head}{opening}{closing}", tail, place)
        return
    yield _line(indent, f"{head}{opening}", "", place)
    for index, (name, child) in enumerate(children):
        comma = "," if index < len(children) - 1 else ""
        inner = None
        if place is not None and place.way and place.way[0] == index:
            inner = _Place(place.way[1:], place.missing)
        yield from _lines(child, indent + _INDENT, name, comma, inner)
    yield Line(f"{indent}{closing}{tail}")


def _line(indent: str, text: str, tail: str, place: _Place | None) -> Line:
    if place is None or place.way:
        return Line(f"{indent}{text}{tail}")
    note = f"has no {escaped(place.missing)}" if place.missing else ""
    return Line(f"{indent}{text}{tail}", len(indent), width(text), note)


def _scalar(node: Any) -> str:
    if isinstance(node, _Number):
        return escaped(node)
    return quoted(node) if isinstance(node, str) else json.dumps(node)


def _excerpt(lines: Iterator[Line]) -> list[Line]:
    """The first lines, and those around the mark; what is left out is counted."""
    shown: list[Line] = []
    before: deque[Line] = deque(maxlen=AROUND)
    skipped = 0
    after = 0
    for number, line in enumerate(lines):
        after = AROUND if line.length else after
        if number < HEAD or after:
            skipped -= len(before)
            shown += _gap(skipped) + list(before)
            before.clear()
            skipped = 0
            shown.append(line)
            after -= bool(after and not line.length)
        else:
            before.append(line)
            skipped += 1
    return shown + _gap(skipped)


def _gap(skipped: int) -> list[Line]:
    return [Line(f"… {counted(skipped, 'more line')}")] if skipped > 0 else []


def _raw(value: bytes, reason: str) -> list[Line]:
    """The bytes in rows, with the one marked that can't be read, where that is known."""
    wrong = _wrong_byte(value, reason)
    first = 0 if wrong is None else max(0, wrong - _ROWS * ROW // 2)
    start = _whole(value, first)
    lines = [Line(f"… {counted(start, 'byte')} before")] if start else []
    for _ in range(_ROWS):
        end = _whole(value, start + ROW)
        if wrong is not None and (start <= wrong < end or wrong == end == len(value)):
            lines.append(_with_byte(value[start:end], wrong - start))
        elif start < end:
            lines.append(Line(escaped(value[start:end])))
        start = end
        if end >= len(value):
            return lines
    return [*lines, Line(f"… {counted(len(value) - start, 'more byte')}")]


def _with_byte(row: bytes, place: int) -> Line:
    before = escaped(row[:place])
    length = width(escaped(row[place : place + 1])) or 1
    return Line(escaped(row), width(before), length)


def _whole(value: bytes, end: int) -> int:
    """``end``, or a little less where it would cut a character of UTF-8 in two."""
    if end >= len(value):
        return len(value)
    for fewer in range(4):
        if end - fewer > 0 and value[end - fewer] & 0xC0 != 0x80:
            return end - fewer
    return end


def _wrong_byte(value: bytes, reason: str) -> int | None:
    if found := _AT_BYTE.search(reason):
        # Of what follows the record, the decoder has read the first byte when it says so.
        place = int(found[1]) - ("trailing characters" in reason)
        return min(max(place, 0), len(value))
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(value) if value and "truncated" in reason else None


def caret(line: Line, reason: str) -> str:
    """The line below a marked one that points at what is wrong and says what it is."""
    said = f"{line.note}: {reason}" if line.note and reason else line.note or reason
    return f"{' ' * line.start}{'^' * min(line.length, 40)} {escaped(said)}"


def has_mark(lines: Sequence[Line]) -> bool:
    """Whether any line is marked."""
    return any(line.length for line in lines)
