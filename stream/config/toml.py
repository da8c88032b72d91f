"""Read a TOML file, with the line of each key; what can't be read is one problem."""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from pathlib import Path as FilePath
from typing import Any

from stream.config.errors import ConfigError, Problem, key_path
from stream.config.positions import Positions
from stream.core.text import printable


def cannot_read(name: str, why: str) -> str:
    """What is said of a file that a key names and that can't be read."""
    return f"can't read {name}: {why[:1].lower()}{why[1:]}"


def unreadable(name: str) -> str | None:
    """Why there is no such file, in a sentence; None where there is one."""
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116 - pathlib would alter what is shown
    except OSError as error:
        return cannot_read(name, error.strerror or str(error))
    except ValueError:  # No name can hold what this one does.
        return cannot_read(name, "no such file or directory")
    if stat.S_ISREG(mode):
        return None
    return cannot_read(name, "is a directory" if stat.S_ISDIR(mode) else "is no file")


def read_toml(name: str) -> tuple[Positions, dict[str, Any]]:
    """The lines and the content of the file.

    Raises:
        ConfigError: ``unreadable``: there is no such file, or it isn't TOML.
    """
    text = ""
    try:
        text = FilePath(name).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        document = tomllib.loads(text)
        return Positions(text), document
    except OSError as error:
        reason = (error.strerror or "can't be read").lower()
        raise ConfigError([Problem(name, "", reason)], unreadable=True) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(f"{name}:{line}", "", "not UTF-8", line)
        raise ConfigError([problem], unreadable=True) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_not_toml(name, text, str(error))], unreadable=True) from None
    except ValueError:
        # The reader's own limit for digits, which it doesn't report as its own error.
        raise ConfigError([Problem(name, "", "a number is too long")], unreadable=True) from None
    except RecursionError:
        raise ConfigError([Problem(name, "", "nested too deeply")], unreadable=True) from None


def _not_toml(name: str, text: str, message: str) -> Problem:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    line = int(place[1]) if place else text.count("\n") + 1
    reason = message[: place.start()] if place else message.removesuffix(" (at end of document)")
    reason = printable(_with_names(reason), "")
    return Problem(f"{name}:{line}", "", f"not TOML: {reason[:1].lower()}{reason[1:]}", line)


def _with_names(reason: str) -> str:
    """Write the table that the reader tells of as a tuple of Python the way it is in the file."""
    found = re.search(r"\(['\"].*\)", reason)
    if found is None:
        return reason
    try:
        path = ast.literal_eval(found[0])
    except (ValueError, SyntaxError):
        return reason
    return f"{reason[: found.start()]}[{key_path(path)}]{reason[found.end() :]}"
