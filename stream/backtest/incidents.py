"""Incidents that were marked by people: when customers' experience really was bad."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from stream.config.errors import ConfigError, Problem, problem_in, shown, suggestion
from stream.config.errors import Path as KeyPath
from stream.config.positions import Positions
from stream.config.toml import read_toml
from stream.core.catalogue import KPIS
from stream.core.errors import StopError
from stream.core.event import Refused
from stream.core.series import LabelPairs
from stream.core.timestamps import parse

_KEYS: Final = ("name", "start", "end", "kpi", "labels")
_TIME: Final = "an RFC 3339 date-time with offset, such as 2026-03-02T09:00:00Z"
_FORM: Final = "a table or object with start and end"
#: So long may a name be.
_LONGEST_NAME: Final = 200


class IncidentsRefused(StopError):
    """A file of incidents can't be used; ``problems`` says why, a line each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident, from ``start`` up to ``end`` (ms since the epoch).

    ``kpi`` and ``labels`` say what it hit; without them it hit everything.
    """

    name: str
    start: int
    end: int
    kpi: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def concerns(self, kpi: str) -> bool:
        """Whether a rule on that KPI should find it; a rule on something else need not."""
        return self.kpi == kpi or (self.kpi is None and kpi in KPIS)

    def agrees(self, labels: LabelPairs) -> bool:
        """Whether a series with these labels may show it: no label has another value."""
        return all(self.labels.get(name, value) == value for name, value in labels)


class _Source:
    """An incident's place: a file with the lines of its keys, or a line of a file."""

    def __init__(self, name: str, prefix: KeyPath = (), positions: Positions | None = None) -> None:
        self._name = name
        self._prefix = prefix
        self._positions = positions

    def problem(self, path: KeyPath, message: str) -> Problem:
        """What is wrong with the value at this path within the incident."""
        path = (*self._prefix, *path)
        line = None if self._positions is None else self._positions.line(path)
        return problem_in(self._name, path, message, line)


def read_incidents(path: Path, dimensions: Sequence[str]) -> tuple[Incident, ...]:
    """The incidents of a TOML file (``[[incident]]``) or of JSON lines, in order of their start.

    ``dimensions`` are those of the configuration: a label that no series has says nothing, so that
    a slip in its name would have the incident be found by whatever fires.

    Raises:
        IncidentsRefused: the file can't be read, or something in it is wrong.
    """
    problems: list[Problem] = []
    incidents = []
    for number, (source, raw) in enumerate(_entries(path)):
        incident = _Reading(source, dimensions, problems).incident(raw, number + 1)
        if incident is not None:
            incidents.append(incident)
    if problems:
        raise IncidentsRefused(problems)
    return tuple(sorted(incidents, key=lambda i: (i.start, i.end, i.name)))


def _entries(path: Path) -> Iterator[tuple[_Source, Any]]:
    """Each incident as it is written, with its place."""
    return _of_toml(path) if path.suffix == ".toml" else _of_lines(path)


def _of_toml(path: Path) -> Iterator[tuple[_Source, Any]]:
    try:
        positions, raw = read_toml(str(path))
    except ConfigError as error:
        raise IncidentsRefused(error.problems) from None
    file = _Source(str(path), (), positions)
    for key in raw:
        if key != "incident":
            words = f"unknown key; {suggestion(key, ['incident'])}"
            raise IncidentsRefused([file.problem((key,), words)])
    tables = raw.get("incident", [])
    if not isinstance(tables, list):
        words = "must be an array of tables: [[incident]]"
        raise IncidentsRefused([file.problem(("incident",), words)])
    for number, table in enumerate(tables):
        yield _Source(str(path), ("incident", number), positions), table


def _of_lines(path: Path) -> Iterator[tuple[_Source, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise IncidentsRefused([Problem(str(path), "", "not UTF-8")]) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise IncidentsRefused([Problem(str(path), "", reason)]) from None
    # A text in JSON may hold other ends of lines.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield _Source(where), orjson.loads(line)
        except orjson.JSONDecodeError as error:
            words = f"not JSON: {error.msg} (TOML is read from a file whose name ends in .toml)"
            raise IncidentsRefused([Problem(where, "", words)]) from None


class _Reading:
    """One incident's fields, and what is wrong with them."""

    def __init__(self, source: _Source, dimensions: Sequence[str], problems: list[Problem]) -> None:
        self._source = source
        self._dimensions = dimensions
        self._problems = problems

    def incident(self, raw: Any, number: int) -> Incident | None:
        before = len(self._problems)
        if not isinstance(raw, dict):
            self._refuse((), f"must be {_FORM}, not {shown(raw)}")
            return None
        for key in raw:
            if key not in _KEYS:
                self._refuse((key,), f"unknown key; {suggestion(key, _KEYS)}")
        start, end = self._time(raw, "start"), self._time(raw, "end")
        if start is not None and end is not None and end <= start:
            self._refuse(("end",), "must be later than start")
        kpi = raw.get("kpi")
        if kpi is not None and not _is_kpi(kpi):
            self._refuse(("kpi",), f"unknown KPI {shown(kpi)}; {suggestion(str(kpi), KPIS)}")
        labels = self._labels(raw.get("labels"), kpi)
        name = raw.get("name", f"incident {number}")
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            self._refuse(("name",), f"must be a text of 1 to {_LONGEST_NAME} characters")
        if len(self._problems) > before or start is None or end is None:
            return None
        return Incident(name, start, end, kpi, labels)

    def _time(self, raw: Mapping[str, Any], key: str) -> int | None:
        value = raw.get(key)
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.isoformat()
        if value is None:
            self._refuse((key,), f"is required: {_TIME}")
        elif not isinstance(value, str):
            self._refuse((key,), f"must be {_TIME}, not {shown(value)}")
        else:
            try:
                return parse(value)
            except Refused:
                self._refuse((key,), f"must be {_TIME}, not {shown(value)}")
        return None

    def _labels(self, raw: Any, kpi: Any) -> dict[str, str]:
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            self._refuse(("labels",), f"must be names with texts, not {shown(raw)}")
            return {}
        allowed = [*self._dimensions, *_own_labels(kpi)]
        for name, value in raw.items():
            if name not in allowed:
                whose = f"of {kpi}" if _is_kpi(kpi) else "of a series"
                self._refuse(("labels", name), f"is no label {whose}; {suggestion(name, allowed)}")
            elif not isinstance(value, str):
                self._refuse(("labels", name), f"must be a text, not {shown(value)}")
        return raw

    def _refuse(self, path: KeyPath, message: str) -> None:
        self._problems.append(self._source.problem(path, message))


def _is_kpi(kpi: Any) -> bool:
    return isinstance(kpi, str) and kpi in KPIS


def _own_labels(kpi: Any) -> Iterable[str]:
    """The labels beyond dimensions that series of the KPI have; without a KPI those of any."""
    kpis = [KPIS[kpi]] if _is_kpi(kpi) else KPIS.values()
    return dict.fromkeys(label for entry in kpis for label in entry.labels)
