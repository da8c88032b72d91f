"""Read the configuration from a file and the environment, and say all that is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from itertools import chain, count
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from pydantic import ValidationError

from stream.config import environment, secrets
from stream.config.checks import Finding, findings
from stream.config.errors import ConfigError, Path, Problem, key_path
from stream.config.model import Config, SinkConfig
from stream.config.positions import Positions
from stream.config.refusals import refusals

DEFAULT_FILE: Final = "cxkpi.toml"
#: What a command talks to, and so needs the secrets of.
Need = Literal["kafka", "sinks"]


class _Source:
    """Where values come from, so that a problem can name the place."""

    def __init__(self, name: str, positions: Positions, variables: Mapping[Path, str]) -> None:
        self._name = name
        self._positions = positions
        self._variables = variables

    def problem(self, finding: Finding) -> Problem:
        path, message = finding
        key = key_path(path)
        variable = self._variable(path)
        if variable is not None:
            return Problem(variable, key, message)
        line = self._positions.line(path)
        if line is None:
            return Problem(self._name, key, message)
        return Problem(f"{self._name}:{line}", key, message, line)

    def _variable(self, path: Path) -> str | None:
        for length in range(len(path), 0, -1):
            if path[:length] in self._variables:
                return self._variables[path[:length]]
        return None


def load(
    path: FilePath | None,
    environ: Mapping[str, str],
    *,
    needs: tuple[Need, ...] = ("kafka", "sinks"),
) -> Config:
    """Return the configuration; with ``path`` None from ``cxkpi.toml`` where it exists.

    Variables win over the file. ``needs`` names what the command talks to: secrets of the others
    aren't looked for, so that ``replay`` works where they aren't.

    Raises:
        ConfigError: with every problem that was found, one line each.
    """
    name, positions, document = _read(path)
    overrides = environment.read(environ, document)
    source = _Source(name, positions, overrides.variables)
    folder = FilePath(name).parent
    merged = environment.merge(document, overrides)
    try:
        config = _with_rollups(Config.model_validate(merged))
    except ValidationError as error:
        _refuse(overrides.problems, map(source.problem, refusals(error)))
        raise  # Never reached: an error has at least one refusal.
    kafka, sinks = secrets.beside(config.kafka, folder), _named(config.sinks)
    config = config.model_copy(update={"kafka": kafka, "sinks": sinks})
    found = list(findings(config))
    if "kafka" in needs:
        found += secrets.fetch_for_kafka(config.kafka, environ, folder)
    if "sinks" in needs:
        wrong = {at[1] for at, _ in found if at[0] == "sink" and len(at) > 1}
        sound = [i for i in range(len(config.sinks)) if i not in wrong]
        found += secrets.fetch_for_sinks(config, sound, environ, folder)
    _refuse(overrides.problems, map(source.problem, found))
    return config


def _refuse(*problems: Iterable[Problem]) -> None:
    found = [problem for part in problems for problem in part]
    if found:
        raise ConfigError(found)


def _read(path: FilePath | None) -> tuple[str, Positions, dict[str, Any]]:
    """The file's name, lines and content; the latter are empty where there is none."""
    if path is None and not FilePath(DEFAULT_FILE).exists():
        return DEFAULT_FILE, Positions(""), {}
    name = str(path if path is not None else DEFAULT_FILE)
    text = ""
    try:
        text = FilePath(name).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        document = tomllib.loads(text)
        return name, Positions(text), document
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
    reason = "".join(c for c in reason if c.isprintable())
    return Problem(f"{name}:{line}", "", f"not TOML: {reason[:1].lower()}{reason[1:]}", line)


def _named(sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
    """Name those without a name after their type: ``webhook``, ``webhook-2``, and so on."""
    taken = {sink.name for sink in sinks if sink.name}
    named: list[SinkConfig] = []
    for sink in sinks:
        candidates = chain([sink.type], (f"{sink.type}-{n}" for n in count(2)))
        name = sink.name or next(c for c in candidates if c not in taken)
        taken.add(name)
        named.append(sink.model_copy(update={"name": name}))
    return tuple(named)


def _with_rollups(config: Config) -> Config:
    """Without any rollups: the total, each dimension and all of them together."""
    if "rollups" in config.model_fields_set:
        return config
    names = tuple(dict.fromkeys(config.dimensions))
    rollups = dict.fromkeys([(), *((name,) for name in names), names])
    return config.model_copy(update={"rollups": tuple(rollups)})
