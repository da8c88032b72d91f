"""Keys that are set by environment: ``CXKPI_`` + section + ``__`` + key, in capitals."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from stream.config.errors import Path, Problem, key_path, nearest, shown, suggestion
from stream.config.fields import is_duration
from stream.config.model import Config
from stream.config.table import is_array_of_tables, table_of

PREFIX: Final = "CXKPI_"
PASSWORD: Final = "CXKPI_KAFKA__SASL_PASSWORD"  # noqa: S105 - the name of a variable
_WEIGHTS: Final = "CXKPI_HEALTH__WEIGHTS__"
#: What Kubernetes sets for each service whose name begins with ``cxkpi``.
_SERVICE: Final = re.compile(
    r"CXKPI_([A-Z0-9_]+_)?"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_[A-Z]+(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://.*", re.DOTALL)


@dataclass(slots=True)
class Overrides:
    """Values that the environment sets, by path, and the variable that each comes from."""

    values: dict[Path, object] = field(default_factory=dict)
    variables: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    #: What is to be known of variables that set nothing, a line each.
    warnings: list[str] = field(default_factory=list)


def variable(*path: str) -> str:
    """The variable that sets the key at this path."""
    return PREFIX + "__".join(path).upper()


def read(environ: Mapping[str, str], document: Mapping[str, Any]) -> Overrides:
    """Find the variables that set a key.

    A name that can only be a slip is a problem. Others with the same prefix are warned of, as they
    may be somebody else's, save those that hold a sink's secret and those of Kubernetes, which sets
    ``CXKPI_PORT`` and the like for a service.
    """
    known = {variable(*path): (path, info) for path, info in _keys()}
    left_alone = {PASSWORD, *_named_by_sinks(document)}
    found = Overrides()
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in left_alone:
            continue
        if name in known:
            path, info = known[name]
            value = _value(environ[name], info)
            if wanted := _wanted_json(value, info):
                message = f"must be {wanted}, not {shown(environ[name])}"
                found.problems.append(Problem(name, key_path(path), message))
            else:
                found.values[path] = value
                found.variables[path] = name
        elif name.startswith(_WEIGHTS) and len(name) > len(_WEIGHTS):
            path = ("health", "weights", _signal(name.removeprefix(_WEIGHTS), document))
            found.values[path] = _number(environ[name])
            found.variables[path] = name
        elif not _is_of_a_service(name, environ[name]):
            slips = _unknown(name, [*known, PASSWORD])
            found.problems += slips
            found.warnings += [] if slips else [_stranger(name, [*known, PASSWORD])]
    return found


def merge(document: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """Return the document with the overrides in it."""
    merged = dict(document)
    for path, value in overrides.values.items():
        table = merged
        for key in path[:-1]:
            inner = table.get(str(key), {})
            if not isinstance(inner, dict):
                break  # The file has something else where a table belongs; that is reported.
            table[str(key)] = dict(inner)
            table = table[str(key)]
        else:
            table[str(path[-1])] = value
    return merged


def _keys() -> list[tuple[tuple[str, ...], FieldInfo]]:
    """Every key outside arrays of tables."""
    keys: list[tuple[tuple[str, ...], FieldInfo]] = []
    for name, info in Config.model_fields.items():
        table = table_of(info)
        if table is None:
            keys.append(((info.alias or name,), info))
        elif not is_array_of_tables(info):
            keys += [
                ((name, inner.alias or key), inner) for key, inner in table.model_fields.items()
            ]
    return keys


def _kind(info: FieldInfo) -> Any:
    """The type of a field, without what may be there instead and without its markers."""
    kind: Any = info.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(k for k in get_args(kind) if k is not type(None))
    while hasattr(kind, "__metadata__"):
        kind = get_args(kind)[0]
    return kind


def _is_nested(kind: Any) -> bool:
    return get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is tuple


def _wanted_json(value: object, info: FieldInfo) -> str | None:
    """What JSON a variable should be, where it can be nothing else and is not."""
    kind = _kind(info)
    if _is_nested(kind) and not isinstance(value, list):
        return 'a list of lists in JSON, such as [[], ["channel"]]'
    if get_origin(kind) is dict and not isinstance(value, dict):
        return 'a table in JSON, such as {"usage": 2}'
    return None


def _value(text: str, info: FieldInfo) -> object:
    """Read a variable as its field's type; what can't be read stays text and is refused later."""
    kind = _kind(info)
    if is_duration(info.metadata) or kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind in (int, float):
        return _number(text)
    if get_origin(kind) is tuple and not text.strip():
        return []
    if get_origin(kind) is tuple and not _is_nested(kind) and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",")]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _number(text: str) -> object:
    if re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", text, re.ASCII):
        return float(text)
    return text


def _signal(capitals: str, document: Mapping[str, Any]) -> str:
    """The file's own spelling of a signal's name, else small letters."""
    health = document.get("health")
    weights = health.get("weights") if isinstance(health, dict) else None
    names = weights if isinstance(weights, dict) else {}
    return next((n for n in names if n.upper() == capitals.upper()), capitals.lower())


def _named_by_sinks(document: Mapping[str, Any]) -> set[str]:
    sinks = document.get("sink")
    tables = [s for s in sinks if isinstance(s, dict)] if isinstance(sinks, list) else []
    named = [s.get(key) for s in tables for key in ("url_env", "secret_env")]
    return {name for name in named if isinstance(name, str)}


def _unknown(name: str, known: list[str]) -> list[Problem]:
    section, double, _ = name.partition("__")
    arrays = [
        variable(i.alias or n) for n, i in Config.model_fields.items() if is_array_of_tables(i)
    ]
    if section in arrays and (double or name == section):
        return [Problem(name, "", "arrays of tables can only be set in the file")]
    siblings = [k for k in known if k.startswith(section + "__")]
    if double and siblings:
        return [Problem(name, "", f"unknown variable; {suggestion(name, siblings)}")]
    if near := nearest(name, known, cutoff=0.85):
        return [Problem(name, "", f"unknown variable; {near}")]
    return []


def _is_of_a_service(name: str, text: str) -> bool:
    if _SERVICE.fullmatch(name):
        return "__" not in name
    return name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(text) is not None


def _stranger(name: str, known: list[str]) -> str:
    """A line on a variable that sets nothing; its section may have been left out."""
    ends = {k.removeprefix(PREFIX).rpartition("__")[2]: k for k in known}
    end = name.removeprefix(PREFIX).rpartition("__")[2]
    near = difflib.get_close_matches(end, ends, n=1, cutoff=0.75)
    meant = f'; did you mean "{ends[near[0]]}"?' if near else ""
    return f"{name}: unknown variable, it sets nothing{meant}"
