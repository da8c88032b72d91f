"""The page of the events tells all that a producer needs to know."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stream.cli.replay import replay
from stream.core.catalogue import EVENT_TYPES, TOPICS
from stream.core.schema import event_schemas
from stream.reference.events_page import events_page

PAGE = events_page()
SCHEMAS = event_schemas()
each_type = pytest.mark.parametrize("kind", SCHEMAS)


def section(title: str) -> str:
    """What stands below a heading."""
    return re.split(r"^##", PAGE.partition(f" {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Required, values and meaning of the fields of a table."""
    found = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    return {field: rest for field, *rest in found}


def told(kind: str) -> dict[str, list[str]]:
    """The fields of a type, those of every event and of the type that it refers to included."""
    own = section(f"`{kind}`")
    same = re.search(r"Its fields are those of `([\w.]+)`", own)
    return rows(section("Every event")) | rows(section(f"`{same[1]}`") if same else own)


@each_type
def test_all_fields_of_a_type_are_told_and_which_are_required(kind: str) -> None:
    fields = told(kind)
    assert fields.keys() == SCHEMAS[kind]["properties"].keys()
    required = {
        field for field, (needed, *_) in fields.items() if needed == "yes" or f"`{kind}`" in needed
    }
    assert required == {*SCHEMAS[kind]["required"]}


@each_type
def test_no_field_holds_just_anything_or_just_an_object(kind: str) -> None:
    vague = {"", "object", "anything", "None"}
    assert {field: said for field, (_, said, _) in told(kind).items() if said in vague} == {}


def test_what_lies_within_an_object_is_told() -> None:
    fields: dict[str, Any] = told("survey.responded")
    assert fields["labels"][1] == "object: up to 16 names, each with a text of 1–64 characters"
    assert fields["scale"][1] == "object: `min` (number, required), `max` (number, required)"
    assert fields["emotions"][1] == "object: names, each with a number"


def test_the_record_that_is_shown_is_accepted_in_its_topic_with_its_key(tmp_path: Path) -> None:
    ((topic, key),) = re.findall(r"topic `([\w.]+)`, with the key `([\w-]+)`", PAGE)
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    event = json.loads(block)
    kind = EVENT_TYPES[event["type"]]
    assert event[kind.key] == key
    assert kind in TOPICS[topic].types
    (tmp_path / "events.jsonl").write_text(json.dumps(event))
    done = CliRunner().invoke(replay, [str(tmp_path / "events.jsonl"), "--json"])
    assert done.exit_code == 0
    outcomes = json.loads(done.stderr.splitlines()[-1])["outcomes"]
    assert {name: n for name, n in outcomes.items() if n} == {"accepted": 1}
