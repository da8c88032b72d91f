from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.core.schema import event_schemas, rules_across_fields
from tests.strategies import FIELDS, TOPIC_OF, TYPES, broken_events, events, json_values

SCHEMAS = event_schemas()
FOLDER = Path(__file__).parents[2] / "schemas"
#: Examples of big events take hypothesis a while to make.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def validator(type_name: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[type_name], format_checker=FormatChecker(["date-time"]))


@cache
def decoder(topic: str) -> Decoder:
    return Decoder(topic)


def decoded(event: dict[str, Any], type_name: str) -> Any:
    return decoder(TOPIC_OF[type_name]).decode([json.dumps(event).encode()]).events[0]


def test_there_is_a_schema_for_every_event_type() -> None:
    assert set(SCHEMAS) == set(TYPES)


@pytest.mark.parametrize("type_name", TYPES)
def test_the_files_are_those_that_the_structs_make(type_name: str) -> None:
    written = json.loads((FOLDER / f"{type_name}.json").read_text("utf-8"))
    assert written == SCHEMAS[type_name], "cxkpi schema --write schemas writes them anew"


@pytest.mark.parametrize("type_name", TYPES)
def test_a_schema_is_valid_and_describes_every_field(type_name: str) -> None:
    schema = SCHEMAS[type_name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:cxkpi:schema:{type_name}"
    emotions = {"emotions"} if type_name.startswith("survey.") else set()
    assert set(schema["properties"]) == FIELDS[type_name].keys() | {"type"} | emotions
    assert all(field["description"] for field in schema["properties"].values())
    required = {name for name, field in FIELDS[type_name].items() if field.required}
    assert set(schema["required"]) == required | {"type"}


@pytest.mark.parametrize("type_name", TYPES)
@patiently
@given(st.data())
def test_decoder_and_schema_accept_good_events(type_name: str, data: st.DataObject) -> None:
    event = data.draw(events(type_name))
    assert not isinstance(decoded(event, type_name), Invalid)
    validator(type_name).validate(event)


@pytest.mark.parametrize("type_name", TYPES)
@patiently
@given(st.data())
def test_decoder_and_schema_refuse_what_breaks_a_rule_of_one_field(
    type_name: str, data: st.DataObject
) -> None:
    event, name = data.draw(broken_events(type_name))
    assert isinstance(decoded(event, type_name), Invalid)
    assert not validator(type_name).is_valid(event), f"{name} is {event.get(name)!r}"


@pytest.mark.parametrize("type_name", TYPES)
@patiently
@given(st.data())
def test_whatever_a_field_holds_they_differ_in_rules_across_fields_only(
    type_name: str, data: st.DataObject
) -> None:
    event = data.draw(events(type_name))
    for name in data.draw(st.lists(st.sampled_from(sorted(FIELDS[type_name])), max_size=2)):
        event[name] = data.draw(json_values | FIELDS[type_name][name].good)
    answer = decoded(event, type_name)
    if not isinstance(answer, Invalid):
        validator(type_name).validate(event)
    elif validator(type_name).is_valid(event):
        rules = {rule.path for rule in rules_across_fields() if type_name in rule.types}
        assert answer.path in rules or answer.path.startswith("emotions.")


def test_the_table_of_rules_across_fields_names_each_rule_once() -> None:
    table = rules_across_fields()
    named = [(type_name, rule.path) for rule in table for type_name in rule.types]
    assert len(named) == len(set(named))
    payments = {"started", "renewed", "upgraded", "downgraded"}
    assert set(named) == {
        *((t, p) for t in ("survey.responded", "survey.updated") for p in ("scale.min", "score")),
        *((t, "emotions") for t in ("survey.responded", "survey.updated")),
        ("ticket.closed", "opened_at"),
        *((f"subscription.{t}", p) for t in payments for p in ("currency", "upsell_amount")),
        ("subscription.cancelled", "started_at"),
    }
    for rule in table:
        for type_name in rule.types:
            assert rule.text in SCHEMAS[type_name]["description"]
