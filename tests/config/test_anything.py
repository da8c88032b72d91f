"""Whatever stands in the file or the environment: a configuration, or problems of one line each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.config import ConfigError, load
from stream.config.environment import variable
from stream.config.schema import config_schema

SCHEMA = config_schema()
TABLES = {
    key: SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]]["properties"]
    for key, rule in SCHEMA["properties"].items()
    if "$ref" in rule
}
ARRAYS = {
    key: SCHEMA["$defs"][rule["items"]["$ref"].rpartition("/")[2]]["properties"]
    for key, rule in SCHEMA["properties"].items()
    if "$ref" in rule.get("items", {})
}

_scalars = st.one_of(
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**63 - 1),
    st.just(10**400),
    st.floats(),
    st.sampled_from(
        ["", "1h", "1m", "0", "churn", "webhook", "http://h/", "http://[", "a@b", "SSL"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "size", "type", ""]), inner, max_size=3),
    ),
    max_leaves=5,
)


def _entries(properties: Mapping[str, object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from([*properties, "other"]), _values, max_size=4)


_documents = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.one_of(_entries(table), _values) for key, table in TABLES.items()},
        **{
            key: st.one_of(st.lists(_entries(table), max_size=2), _values)
            for key, table in ARRAYS.items()
        },
        **{key: _values for key in SCHEMA["properties"] if key not in {*TABLES, *ARRAYS}},
    },
)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else repr(value).replace("nan", "+nan")
    # TOML wants a letter escaped that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _load(path: Path, environ: Mapping[str, str]) -> list[str]:
    try:
        load(path, environ).core()
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
        return problems or ["an error without a problem\n"]
    return []


@settings(deadline=None)
@given(document=_documents)
def test_any_document_is_accepted_or_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "cxkpi.toml"
    path.write_text("".join(f"{k} = {_toml(v)}\n" for k, v in document.items()), encoding="utf-8")
    for problem in _load(path, {}):
        assert problem.startswith(f"{path}:")
        assert problem.isprintable()


@settings(deadline=None)
@given(content=st.one_of(st.binary(max_size=60), st.text("[]{}=,.\"'#\n\\ a1", max_size=60)))
@example(content="a = " + "1" * 5_000)
@example(content="dedupe = 2024-02-30")
@example(content="\ufeffdedupe = '1m'")
def test_any_bytes_are_accepted_or_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for problem in _load(path, {}):
        assert problem.startswith(f"{path}:")
        assert problem.isprintable()


_names = [variable(key) for key in SCHEMA["properties"]] + [
    variable(section, key) for section, table in TABLES.items() for key in table
]


@settings(deadline=None)
@given(
    environ=st.dictionaries(
        st.sampled_from([*_names, "CXKPI_HEALTH__WEIGHTS__A"]),
        st.one_of(
            st.sampled_from(["[", "{", "[[]]", "null", "1e999", "1" * 5_000, "NaN", "\udcff", ","]),
            st.text(max_size=10),
        ),
        max_size=3,
    )
)
def test_any_environment_is_accepted_or_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "empty.toml"
    path.touch()
    for problem in _load(path, environ):
        assert problem.isprintable()
