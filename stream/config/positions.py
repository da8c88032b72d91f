"""The line of every key in a TOML document, which ``tomllib`` doesn't tell."""

from __future__ import annotations

import re
import tomllib
from collections import deque

from stream.config.errors import Path

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r]+ | \#[^\n]*)
    | (?P<newline>\n)
    | (?P<string>\"{3}(?:\\.|[^\\])*?\"{3}\"{0,2} | '{3}.*?'{3}'{0,2}
               | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<word>[^\s\[\]{}=,."'\#]+)
    """,
    re.VERBOSE | re.DOTALL,
)


class Positions:
    """Lines by path. The text must be TOML that ``tomllib`` has read without error."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        self._tokens: deque[tuple[str, str, int]] = deque()
        line = 1
        for found in _TOKEN.finditer(text):
            if found.lastgroup != "blank":
                self._tokens.append((str(found.lastgroup), found[0], line))
            line += found[0].count("\n")
        self._document()

    def line(self, path: Path) -> int | None:
        """Return the line of the value at this path, else that of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._lines:
                return self._lines[path[:length]]
        return None

    def _next(self) -> str:
        return self._tokens[0][1] if self._tokens else "\n"

    def _skip(self, *marks: str) -> None:
        while self._tokens and self._tokens[0][1] in marks:
            self._tokens.popleft()

    def _document(self) -> None:
        table: Path = ()
        self._skip("\n")
        while self._tokens:
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip("\n")

    def _header(self) -> Path:
        line = self._tokens.popleft()[2]
        array = self._next() == "["
        self._skip("[")
        *parents, name = self._key()
        self._skip("]")
        path = (*self._inside(parents), name)
        if array:
            self._lines.setdefault(path, line)
            self._lengths[path] = self._lengths.get(path, 0) + 1
            path = (*path, self._lengths[path] - 1)
        self._note(path, line)
        return path

    def _inside(self, keys: list[str]) -> Path:
        """The path of a table's header, in which a key of an array means its last entry."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while self._tokens and self._next() not in ("=", "]"):
            kind, text, _ = self._tokens.popleft()
            if kind == "string":
                parts.append(str(tomllib.loads(f"key = {text}")["key"]))
            elif kind == "word":
                parts.append(text)
        return parts

    def _pair(self, table: Path) -> None:
        line = self._tokens[0][2]
        path = (*table, *self._key())
        self._skip("=")
        self._value(path, line)

    def _value(self, path: Path, line: int) -> None:
        self._note(path, line)
        opening = self._next()
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            while self._next() not in ("\n", ",", "]", "}"):
                self._tokens.popleft()

    def _array(self, path: Path) -> None:
        self._tokens.popleft()
        index = 0
        self._skip("\n", ",")
        while self._tokens and self._next() != "]":
            self._value((*path, index), self._tokens[0][2])
            index += 1
            self._skip("\n", ",")
        self._skip_one()

    def _inline_table(self, path: Path) -> None:
        self._tokens.popleft()
        self._skip("\n", ",")
        while self._tokens and self._next() != "}":
            self._pair(path)
            self._skip("\n", ",")
        self._skip_one()

    def _skip_one(self) -> None:
        if self._tokens:
            self._tokens.popleft()

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
