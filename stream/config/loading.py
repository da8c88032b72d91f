"""Read the configuration from a file and the environment, and say all that is wrong with it."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable, Mapping
from itertools import chain, count
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from pydantic import ValidationError

from stream.config import environment, secrets
from stream.config.benchmarks import read_benchmarks
from stream.config.checks import Finding, findings
from stream.config.errors import ConfigError, Path, Problem, key_path, problem_in
from stream.config.model import Config, SinkConfig
from stream.config.positions import Positions
from stream.config.refusals import refusals
from stream.config.toml import read_toml, unreadable

DEFAULT_FILE: Final = "cxkpi.toml"
#: Keys of alert rules whose findings follow from no other key of the rule.
_OF_THEMSELVES: Final = ("window", "by")
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
        variable = self._variable(path)
        if variable is not None:
            return Problem(variable, key_path(path), message)
        return problem_in(self._name, path, message, self._positions.line(path))

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
    vet: secrets.Vet | None = None,
) -> Config:
    """Return the configuration; with ``path`` None from ``cxkpi.toml`` where it exists.

    Variables win over the file. ``needs`` names what the command talks to: secrets of the others
    aren't looked for, so that ``replay`` works where they aren't. ``vet`` is asked about each sink
    that has an address, for what only the sink itself can know.

    Raises:
        ConfigError: with every problem that was found, one line each.
    """
    name, positions, document = _read(path)
    overrides = environment.read(environ, document)
    source = _Source(name, positions, overrides.variables)
    folder = FilePath(name).parent
    merged = environment.merge(document, overrides)
    rest, refused = merged, list[Finding]()
    try:
        config = _with_rollups(Config.model_validate(merged))
    except ValidationError as error:
        refused = refusals(error)
        # A sink or a key of a rule that is refused must not hide what is wrong with the others.
        rest = _without_sinks(merged, {at[1] for at, _ in refused if at[0] == "sink" and at[1:]})
        rest = _without_keys_of_rules(rest, refused)
        try:
            config = _with_rollups(Config.model_validate(rest))
        except ValidationError:
            _refuse(overrides.problems, map(source.problem, refused))
            raise  # Never reached: an error has at least one refusal.
    kafka, sinks = secrets.beside(config.kafka, folder), _named(config.sinks)
    config = config.model_copy(update={"kafka": kafka, "sinks": sinks})
    found = [*refused, *(f for f in findings(config) if _holds(f, refused, rest))]
    if "kafka" in needs:
        found += secrets.fetch_for_kafka(config.kafka, environ, folder)
    if "sinks" in needs:
        wrong = {at[1] for at, _ in found if at[0] == "sink" and len(at) > 1}
        sound = [i for i in range(len(config.sinks)) if i not in wrong]
        found += secrets.fetch_for_sinks(config, sound, environ, folder, vet)
    _refuse(overrides.problems, map(source.problem, found), _hold_figures(config, folder, source))
    config.hold_strangers(overrides.warnings)
    return config


def file_read(path: FilePath | None) -> FilePath | None:
    """The file that a configuration comes from; None where there are only defaults.

    A link that leads nowhere is one, too: that it can't be read is better said than passed over.
    """
    if path is None and not os.path.lexists(DEFAULT_FILE):
        return None
    return path or FilePath(DEFAULT_FILE)


def _without_sinks(document: Mapping[str, Any], which: Collection[object]) -> dict[str, Any]:
    """The document with harmless sinks in the place of some."""
    sinks = document.get("sink")
    if not which or not isinstance(sinks, list):
        return dict(document)
    kept = [{"type": "log"} if i in which else sink for i, sink in enumerate(sinks)]
    return {**document, "sink": kept}


def _without_keys_of_rules(
    document: Mapping[str, Any], refused: Iterable[Finding]
) -> dict[str, Any]:
    """The document without the keys of alert rules that are refused; a name is replaced."""
    rules = document.get("alert")
    if not isinstance(rules, list):
        return dict(document)
    kept = [dict(rule) if isinstance(rule, dict) else rule for rule in rules]
    for at, _ in refused:
        if at[0] == "alert" and at[2:] and isinstance(rule := kept[int(at[1])], dict):
            rule.pop(str(at[2]), None)
            if at[2] == "name":
                rule["name"] = f"Rule{at[1]}"
    return {**document, "alert": kept}


def _holds(finding: Finding, refused: Iterable[Finding], document: Mapping[str, Any]) -> bool:
    """Whether a finding of ``document`` holds though refused keys of rules were left out of it."""
    at, _ = finding
    if at[0] != "alert" or at[:2] not in {other[:2] for other, _ in refused}:
        return True
    return len(at) > 2 and at[2] in _OF_THEMSELVES and at[2] in document["alert"][at[1]]


def _hold_figures(config: Config, folder: FilePath, source: _Source) -> list[Problem]:
    """Give the configuration its benchmarks; what is wrong with their file."""
    if config.benchmarks is None:
        return []
    path = folder / config.benchmarks
    if why := unreadable(str(path)):
        return [source.problem((("benchmarks",), why))]
    try:
        config.hold_figures(read_benchmarks(str(path)))
    except ConfigError as error:
        return error.problems
    return []


def _refuse(*problems: Iterable[Problem]) -> None:
    found = [problem for part in problems for problem in part]
    if found:
        raise ConfigError(found)


def _read(path: FilePath | None) -> tuple[str, Positions, dict[str, Any]]:
    """The file's name, lines and content; the latter are empty where there is none."""
    path = file_read(path)
    if path is None:
        return DEFAULT_FILE, Positions(""), {}
    name = str(path)
    positions, document = read_toml(name)
    return name, positions, document


def _named(sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
    """Name those without a name after their type: ``webhook``, ``webhook-2``, and so on."""
    taken = {sink.name for sink in sinks if sink.name}
    named: list[SinkConfig] = []
    for sink in sinks:
        candidates = chain([sink.type], (f"{sink.type}-{n}" for n in count(2)))
        name = sink.name or next(c for c in candidates if c not in taken)
        taken.add(name)
        named.append(sink.model_copy(update={"name": name}))
        if not sink.name and name != sink.type:
            named[-1].hold_place()
    return tuple(named)


def _with_rollups(config: Config) -> Config:
    """Without any rollups: the total, each dimension and all of them together."""
    if "rollups" in config.model_fields_set:
        return config
    names = tuple(dict.fromkeys(config.dimensions))
    rollups = dict.fromkeys([(), *((name,) for name in names), names])
    return config.model_copy(update={"rollups": tuple(rollups)})
