"""Words for what the model refuses: from the validator's errors to one line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from stream.config.environment import PASSWORD
from stream.config.errors import Path, shown, suggestion
from stream.config.fields import REFUSED
from stream.config.model import Config
from stream.config.table import is_array_of_tables, table_of

#: Values of such keys are never shown: what stands there by mistake may be a secret.
_SECRET_WORDS = ("password", "secret", "token", "url", "key")
_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "tuple_type": "a list",
    "dict_type": "a table",
    "finite_number": "a finite number",
    "string_unicode": "UTF-8",
    "int_parsing_size": "a smaller number",
}


def refusals(error: ValidationError, root: type[BaseModel] = Config) -> list[tuple[Path, str]]:
    """Return the path and the reason of each error; ``root`` is the model of the document."""
    return [_refusal(e, root) for e in error.errors(include_url=False)]


def _refusal(error: ErrorDetails, root: type[BaseModel]) -> tuple[Path, str]:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    kind, value = error["type"], error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    if kind == REFUSED:
        return path, str(context["message"])
    if kind == "extra_forbidden":
        return path, _unknown_key(path, root)
    if kind == "missing":
        return path, "is missing"
    return path, f"must be {_wanted(path, kind, root)}{_but_is(path, value)}"


def _wanted(path: Path, kind: str, root: type[BaseModel]) -> str:
    info = _field(path, root)
    if kind == "model_type":
        return f"a table: write [{path[-1]}]" if len(path) == 1 else "a table"
    if kind == "tuple_type" and info is not None and is_array_of_tables(info):
        return f"an array of tables: write [[{path[-1]}]]"
    return _KINDS.get(kind, "another value")


def _but_is(path: Path, value: object) -> str:
    if isinstance(value, (dict, list)):
        return ""
    if any(word in str(part).lower() for part in path for word in _SECRET_WORDS):
        return ""
    return f", not {shown(value)}"


def _unknown_key(path: Path, root: type[BaseModel]) -> str:
    table = model_at(path[:-1], root)
    key = str(path[-1])
    if path == ("kafka", "sasl_password"):
        return f"a password does not belong in the file; use {PASSWORD} or sasl_password_file"
    if path[0] == "sink" and key in ("secret", "token", "password"):
        return "a secret does not belong in the file; use secret_env or secret_file"
    keys = [] if table is None else [i.alias or n for n, i in table.model_fields.items()]
    words = ["unknown key", *_elsewhere(key, root), suggestion(key, keys)]
    return "; ".join(words)


def _elsewhere(key: str, root: type[BaseModel]) -> Iterator[str]:
    """Where a key belongs that stands in a table which doesn't have it.

    All that follows a table's header is of that table, which is easily forgotten.
    """
    tables: list[str] = []
    for name, info in root.model_fields.items():
        table, header = table_of(info), info.alias or name
        written = f"[[{header}]]" if is_array_of_tables(info) else f"[{header}]"
        if header == key:
            yield f"{key} stands before the first table" if table is None else f"write {written}"
        elif table is not None and _named(table, key) is not None:
            tables.append(written)
    if tables:
        yield f"{key} belongs to {' or '.join(tables)}"


def model_at(path: Path, root: type[BaseModel] = Config) -> type[BaseModel] | None:
    """The model of the table at a path of the document whose model is ``root``."""
    model: type[BaseModel] | None = root
    for part in path:
        if isinstance(part, int):
            continue
        info = None if model is None else _named(model, part)
        model = None if info is None else table_of(info)
    return model


def _field(path: Path, root: type[BaseModel]) -> FieldInfo | None:
    if not path or isinstance(path[-1], int):
        return None
    table = model_at(path[:-1], root)
    return None if table is None else _named(table, path[-1])


def _named(model: type[BaseModel], key: str) -> FieldInfo | None:
    return next((i for n, i in model.model_fields.items() if (i.alias or n) == key), None)
