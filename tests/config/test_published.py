"""The schema and the reference page say what is enforced."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stream.config import ConfigError, load
from stream.config.reference import EXAMPLE, reference
from stream.config.schema import config_schema
from tests.config import test_refusals, test_refused_rules, test_refused_sinks

ROOT = Path(__file__).parents[2]
CASES = test_refusals.CASES + test_refused_rules.CASES + test_refused_sinks.CASES

#: Mistakes that stand between keys or in what a text means: ``check`` alone tells them.
BETWEEN_KEYS = {
    "more values together than the registry takes",
    "a reserved dimension",
    "a dimension that only a histogram may have",
    "a dimension twice",
    "a rollup of no dimension",
    "a rollup twice, in another order",
    "the total twice",
    "no rollup at all",
    "a size that is no multiple",
    "too many panes",
    "one pane too many",
    "a pane that is too short",
    "two windows of one size",
    "no window at all",
    "a duration off its range",
    "a session time-out that Kafka refuses",
    "a window that isn't there",
    "a rollup that isn't kept",
    "no threshold",
    "two thresholds",
    "a threshold that is no number",
    "a clear that is beyond above",
    "a clear that is beyond above by little",
    "a clear that is beyond below",
    "a label that there is none of",
    "a rule on nothing",
    "a topic without how long",
    "how long without a topic",
    "a topic and a KPI",
    "a summary with an unknown field",
    "a summary with the currency of a KPI that has none",
    "a summary with a format",
    "a summary with a brace that stands alone",
    "a dashboard with a password",
    "a dashboard's page for Grafana's",
    "a factor alone",
    "a baseline alone",
    "a factor that moves nothing",
    "a baseline that isn't longer",
    "a baseline that is the window itself",
    "a baseline that isn't there",
    "a spike of what can be negative",
    "a spike with a threshold and a clear",
    "two rules of one name",
    "an emotion on both sides",
    "certificates without encryption",
    "certificates that aren't there",
    "a certificate whose name is too long for the system",
    "a folder for a certificate",
    "a device for a certificate",
    "a folder for a sink's address",
    "a login without name and password",
    "a flush that outlasts its transaction",
    "a transaction that is shorter than two flushes of the usual length",
    "a webhook without address",
    "an address of another kind",
    "an address that is broken",
    "an address whose port there is none of",
    "two addresses",
    "a log with an address",
    "an address for each type of sink",
    "Alertmanager's API in the place of its root",
    "a part of Alertmanager's page in the place of its root",
    "an address of apprise that may hold a secret",
    "Slack's own address in the file",
    "a refresh for what forgets nothing",
    "a refresh that has no effect",
    "two sinks of one name",
    "text of two lines",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config_schema()


def test_the_committed_schema_is_current(schema: dict[str, Any]) -> None:
    committed = json.loads((ROOT / "schemas" / "config.json").read_text(encoding="utf-8"))
    assert committed == schema, "run: python -m stream.config.schema > schemas/config.json"


def test_the_committed_page_is_current() -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == reference(), (
        "run: python -m stream.config.reference > docs/configuration.md"
    )


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_example_is_accepted_by_both(tmp_path: Path, schema: dict[str, Any]) -> None:
    path = tmp_path / "cxkpi.toml"
    path.write_text(EXAMPLE)
    secrets = {"SLACK_URL": "https://hooks.example/x", "CXKPI_KAFKA__SASL_PASSWORD": "x"}
    assert load(path, secrets).core().rules[1].baseline == "7d"
    Draft202012Validator(schema).validate(tomllib.loads(EXAMPLE))


def test_mistakes_between_keys_are_ones_that_are_made() -> None:
    assert {name for name, *_ in CASES} >= BETWEEN_KEYS


@pytest.mark.parametrize("case", CASES, ids=[c[0] for c in CASES])
def test_the_schema_refuses_every_mistake_in_a_single_key(
    case: tuple[str, str, list[str]], schema: dict[str, Any]
) -> None:
    name, content, _ = case
    valid = Draft202012Validator(schema).is_valid(tomllib.loads(content))
    assert valid == (name in BETWEEN_KEYS)


def test_the_defaults_of_the_schema_are_the_defaults(
    tmp_path: Path, schema: dict[str, Any]
) -> None:
    """Write every default into a file: it changes nothing."""
    document = _defaults(schema, schema)
    path = tmp_path / "cxkpi.toml"
    path.write_text(_toml(document))
    Draft202012Validator(schema).validate(document)
    assert load(path, {}) == load(tmp_path / _empty(tmp_path), {})


def _empty(folder: Path) -> str:
    (folder / "empty.toml").touch()
    return "empty.toml"


def _defaults(table: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, rule in table["properties"].items():
        if "$ref" in rule:
            values[key] = _defaults(schema["$defs"][rule["$ref"].rpartition("/")[2]], schema)
        elif "default" in rule:
            values[key] = rule["default"]
    return values


def _toml(document: dict[str, Any]) -> str:
    lines = [f"{k} = {_value(v)}" for k, v in document.items() if not isinstance(v, dict)]
    for name, table in document.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{k} = {_value(v)}" for k, v in table.items())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


def test_the_incident_of_the_tests_is_a_good_configuration() -> None:
    for path in (ROOT / "tests" / "data").rglob("cxkpi.toml"):
        try:
            load(path, {})
        except ConfigError as error:
            pytest.fail(str(error))
