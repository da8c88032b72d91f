"""What is wrong with a configuration, one line for each problem."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stream.core.errors import StopError
from stream.core.text import clipped, printable

#: Where a value stands in the document: keys, and positions in arrays (from 0).
Path = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_SHOWN = 61


def key_path(path: Sequence[str | int]) -> str:
    """Write a path as users know it: ``alert[2].kpi``, ``health.weights."my signal"``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else shown(part)
            text += f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Write a value that was refused on one short line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return clipped(printable(text), _LONGEST_SHOWN)


def rollup(names: Sequence[str]) -> str:
    """Write a rollup as it stands in the file: ``["channel", "region"]``."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """Name the nearest of the allowed words, where one is near, and all of them."""
    words = list(allowed)
    listed = f"allowed: {', '.join(words)}" if words else "none is allowed"
    return " ".join(filter(None, [nearest(word, words, cutoff=0.6), listed]))


def nearest(word: str, allowed: Iterable[str], *, cutoff: float) -> str:
    """Ask whether the nearest word was meant; empty where none is nearer than ``cutoff`` (0-1)."""
    near = difflib.get_close_matches(word, list(allowed), n=1, cutoff=cutoff)
    return f'did you mean "{near[0]}"?' if near else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (file and line, or variable), at which key, and why."""

    where: str
    key: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.message) if part)


def problem_in(file: str, path: Path, message: str, line: int | None) -> Problem:
    """What is wrong at a path of keys within a file; ``line`` None where it has none."""
    return Problem(file if line is None else f"{file}:{line}", key_path(path), message, line or 0)


class ConfigError(StopError):
    """The configuration can't be used; ``problems`` says why, in the order of the file's lines.

    ``unreadable`` is true where there was nothing to check: no such file, or not TOML.
    """

    def __init__(self, problems: Iterable[Problem], *, unreadable: bool = False) -> None:
        self.problems = sorted(problems, key=lambda p: p.line)
        self.unreadable = unreadable
        super().__init__("\n".join(map(str, self.problems)))
