from __future__ import annotations

import json
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core.catalogue import TOPICS
from stream.core.decode import Decoder
from stream.core.event import Event, Invalid
from stream.core.head import occurred_at, type_of
from stream.core.labels import NO_LABELS
from stream.core.timestamps import parse
from tests import strategies
from tests.strategies import TOPIC_OF, TYPES, any_event, broken_events, events, json_values

CASES = json.loads((Path(__file__).parents[1] / "data" / "cases.json").read_text("utf-8"))
VISIT: dict[str, Any] = {
    "event_id": "e",
    "type": "visit.ended",
    "occurred_at": "2026-03-02T10:00:00.000Z",
    "visit_id": "v",
}
ANSWER: dict[str, Any] = {
    "event_id": "e",
    "type": "survey.responded",
    "occurred_at": "2026-03-02T10:00:00.000Z",
    "response_id": "r",
    "survey": "nps",
    "score": 9,
}
STARTED: dict[str, Any] = {
    "event_id": "e",
    "type": "subscription.started",
    "occurred_at": "2026-03-02T10:00:00.000Z",
    "subscription_id": "s",
}
#: Examples of big events take hypothesis a while to make.
patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def decoder(topic: str | None) -> Decoder:
    return Decoder(topic)


def encoded(record: Any) -> bytes:
    return record.encode() if isinstance(record, str) else json.dumps(record).encode()


def decode_one(value: bytes | None, topic: str | None = None) -> Event | Invalid:
    decoded = decoder(topic).decode([value])
    assert [len(column) for column in decoded[:3]] == [1, 1, 1]
    return decoded.events[0]


def refusal(record: Any, topic: str | None = None) -> Invalid:
    event = decode_one(record if isinstance(record, bytes) else encoded(record), topic)
    assert isinstance(event, Invalid), f"accepted {record!r}"
    return event


def test_the_topics_and_types_are_those_of_the_contract() -> None:
    types = {name: tuple(t.name for t in topic.types) for name, topic in TOPICS.items()}
    assert types == strategies.TYPES_BY_TOPIC


@pytest.mark.parametrize("case", [c for c in CASES if "outcomes" in c], ids=lambda c: c["name"])
def test_the_worked_cases_are_valid_and_invalid_as_they_say(case: dict[str, Any]) -> None:
    records = [record for file in case["files"] for record in file]
    if len(case["files"]) > 1:
        # Outcomes stand in the order of reading, so only their number is known here.
        expected = case["outcomes"].count("invalid")
        found = decoder(None).decode([encoded(r) for r in records]).events
        assert sum(isinstance(e, Invalid) for e in found) == expected
        return
    for record, outcome in zip(records, case["outcomes"], strict=True):
        event = decode_one(encoded(record))
        assert isinstance(event, Invalid) == (outcome == "invalid"), (record, event)


@pytest.mark.parametrize("type_name", TYPES)
@patiently
@given(st.data())
def test_good_events_of_every_type_are_read_as_written(type_name: str, data: st.DataObject) -> None:
    written = data.draw(events(type_name))
    decoded = decoder(TOPIC_OF[type_name]).decode([encoded(written)])
    event = decoded.events[0]
    assert not isinstance(event, Invalid), event
    assert type(event).__struct_config__.tag == type_name
    assert decoded.at == [parse(written["occurred_at"])]
    labels = written.get("labels") or {}
    assert decoded.labels[0].values == {k: v for k, v in labels.items() if v is not None}
    for name in set(event.__struct_fields__) - {"labels", "emotions", "scale"}:
        assert getattr(event, name) == written.get(name)


@pytest.mark.parametrize("type_name", TYPES)
@patiently
@given(st.data())
def test_a_broken_field_is_refused_with_its_path(type_name: str, data: st.DataObject) -> None:
    broken, name = data.draw(broken_events(type_name))
    invalid = refusal(broken, TOPIC_OF[type_name])
    assert invalid.path.split(".")[0] == name
    assert 0 < len(invalid.reason) <= 200


@patiently
@given(st.lists(any_event().map(encoded) | st.binary(max_size=30) | st.none(), max_size=12))
def test_each_record_of_a_chunk_says_what_it_says_alone(values: list[bytes | None]) -> None:
    together = decoder(None).decode(values)
    alone = [decoder(None).decode([value]) for value in values]
    assert together.events == [one.events[0] for one in alone]
    assert together.at.tolist() == [int(one.at[0]) for one in alone]
    assert together.labels.listed() == [one.labels[0] for one in alone]
    read = together.events, together.at, together.labels.listed()
    for event, at, labels in zip(*read, strict=True):
        if isinstance(event, Invalid):
            assert (at, labels) == (0, NO_LABELS)
    for group in together.groups:
        assert [together.events[i] for i in group.places.tolist()] == list(group.events)
        assert {type(event) for event in group.events} == {group.struct}
    valid = sum(not isinstance(event, Invalid) for event in together.events)
    assert sum(len(group.events) for group in together.groups) == valid


@given(st.binary(max_size=60) | json_values.map(encoded))
def test_no_bytes_raise(value: bytes) -> None:
    decode_one(value)


@patiently
@given(st.data())
def test_a_cut_or_changed_event_is_decoded_or_refused_but_raises_nothing(
    data: st.DataObject,
) -> None:
    value = bytearray(encoded(data.draw(any_event())))
    at = data.draw(st.integers(0, len(value) - 1))
    if data.draw(st.booleans()):
        refused = decode_one(bytes(value[:at]))
        assert isinstance(refused, Invalid)
    else:
        value[at] = data.draw(st.integers(0, 255))
        decode_one(bytes(value))


def visit(extra: bytes) -> bytes:
    return encoded(VISIT)[:-1] + extra + b"}"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, "$"),
        (b"", "$"),
        (b" ", "$"),
        (b"null", "$"),
        (b"[]", "$"),
        (b'"text"', "$"),
        (b"{}", "type"),
        (b'{"type":', "$"),
        (b'{"type":"visit.ended"', "$"),
        (encoded(VISIT) + b"x", "$"),
        (encoded(VISIT) * 2, "$"),
        (encoded(VISIT) + b"\n" + encoded(VISIT), "$"),
        (b"\xef\xbb\xbf" + encoded(VISIT), "$"),
        (json.dumps(VISIT).encode("utf-16"), "$"),
        (b"\x00", "$"),
        (visit(b',"x":NaN'), "$"),
        (visit(b',"pages":NaN'), "$"),
        (visit(b',"pages":-Infinity'), "$"),
        (visit(b',"pages":1e999'), "pages"),
        (visit(b',"pages":01'), "$"),
        (visit(b',"pages":1' + b"0" * 5000), "pages"),
        (visit(b',"x":"\n"'), "$"),
        (visit(b",'x':1"), "$"),
        (visit(b',"x":1,'), "$"),
        # What the decoder skips, or keeps raw, has to be UTF-8 too.
        (visit(b',"x":"\xff"'), "$"),
        (visit(b',"\xc0\x80":1'), "$"),
        (visit(b',"x":"\xed\xa0\x80"'), "$"),
        (visit(b',"labels":{"a":"\xff"}'), "$"),
        (encoded(ANSWER)[:-1] + b',"emotions":"\xff"}', "$"),
        (visit(b',"customer_id":"\xff"'), "$"),
        (visit(b',"customer_id":"\\ud800"'), "customer_id"),
        (visit(b',"x":' + b"[" * 100_000), "$"),
        (visit(b',"x":' + b"[" * 100_000 + b"]" * 100_000), "$"),
        (visit(b',"labels":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "$"),
    ],
)
def test_what_is_no_json_object_of_a_known_type_is_refused(value: bytes | None, path: str) -> None:
    good = encoded(VISIT)
    decoded = Decoder("cx.visit").decode([good, value, good])
    before, invalid, after = decoded.events
    assert isinstance(invalid, Invalid)
    assert invalid.path == path
    assert len(invalid.reason) <= 200
    assert before == after
    assert not isinstance(before, Invalid)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("visit.started", "is no event type: 'visit.started'"),
        ("", "is no event type: ''"),
        (None, "is required"),
        (["visit.ended"], "must be a text"),
        (7, "must be a text"),
        ("VISIT.ENDED", "is no event type: 'VISIT.ENDED'"),
        ("x" * 1_000_000, f"is no event type: '{'x' * 64}'"),
    ],
)
@pytest.mark.parametrize("topic", [None, *TOPICS])
def test_a_type_that_is_none_is_refused(value: Any, reason: str, topic: str | None) -> None:
    assert refusal({**VISIT, "type": value}, topic) == Invalid("type", reason)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("type_name", TYPES)
def test_a_type_on_another_topic_than_its_own_is_refused(type_name: str, topic: str) -> None:
    invalid = refusal({**VISIT, "type": type_name, "pages": 0}, topic)
    if TOPIC_OF[type_name] == topic:
        assert invalid.path != "type"
    else:
        reason = f"{type_name} belongs to topic {TOPIC_OF[type_name]}"
        assert invalid == Invalid("type", reason)


NO_NUMBERS: list[Any] = [None, "x", [], {"happy": 1}, True, 1e13]


@pytest.mark.parametrize(
    ("event", "path", "reason"),
    [
        (ANSWER | {"score": None}, "score", "is required for nps"),
        (ANSWER | {"score": 10.5}, "score", "is not on the scale from 0 to 10"),
        (ANSWER | {"survey": "ces", "score": 0.5}, "score", "is not on the scale from 1 to 7"),
        (
            ANSWER | {"scale": {"min": 1, "max": 5}},
            "score",
            "is not on the scale from 1 to 5",
        ),
        (ANSWER | {"scale": {"min": 9, "max": 9}}, "scale.min", "is not below scale.max"),
        (ANSWER | {"scale": {"min": -1, "max": 9}}, "scale.min", "is below 0"),
        (ANSWER | {"scale": {"min": 9}}, "scale.max", "is required"),
        (ANSWER | {"scale": {"min": "0", "max": 9}}, "scale.min", "expected a number, got a text"),
        (
            ANSWER | {"survey": "emotion"},
            "emotions",
            "must be an object of numbers on the scale",
        ),
        (
            ANSWER | {"survey": "emotion", "emotions": {}},
            "emotions",
            "is empty, but required for emotion",
        ),
        (
            ANSWER | {"survey": "emotion", "emotions": "happy"},
            "emotions",
            "must be an object of numbers on the scale",
        ),
        *(
            (
                ANSWER | {"survey": "emotion", "emotions": {"sad": 1, "happy": wrong, "calm": "x"}},
                "emotions.happy",
                "must be a number on the scale",
            )
            for wrong in NO_NUMBERS
        ),
        (
            ANSWER | {"survey": "emotion", "emotions": {"é" * 65: "x"}},
            "emotions." + "é" * 64,
            "must be a number on the scale",
        ),
        (
            ANSWER | {"survey": "emotion", "emotions": {"happy": 10.1}},
            "emotions.happy",
            "is not on the scale from 0 to 10",
        ),
        (STARTED | {"amount": 1}, "currency", "is required with amount"),
        (STARTED | {"amount": 0, "currency": None}, "currency", "is required with amount"),
        (STARTED | {"upsell_amount": 0}, "upsell_amount", "needs amount"),
        (
            STARTED | {"amount": 5, "upsell_amount": 5.01, "currency": "EUR"},
            "upsell_amount",
            "is more than amount",
        ),
        (STARTED | {"currency": "EuR"}, "currency", "must be three capitals"),
        (
            STARTED | {"type": "subscription.cancelled", "started_at": "2026-03-02T10:00:00.001Z"},
            "started_at",
            "is later than occurred_at",
        ),
        (
            STARTED | {"type": "subscription.cancelled", "started_at": "2026-02-29T10:00:00Z"},
            "started_at",
            "is no day of the calendar",
        ),
        (
            VISIT
            | {"type": "ticket.closed", "ticket_id": "t", "opened_at": "2026-03-02T11:00:00+00:59"},
            "opened_at",
            "is later than occurred_at",
        ),
        (VISIT | {"pages": 1.5}, "pages", "expected a number that is whole"),
        (VISIT | {"pages": 0}, "pages", "expected a number >= 1"),
        (VISIT | {"pages": True}, "pages", "expected a number or null, got a boolean"),
        (VISIT | {"visit_id": None}, "visit_id", "expected a text, got null"),
        (ANSWER | {"survey": "x" * 1000}, "survey", "is none of nps, csat, ces, css, emotion"),
    ],
)
def test_a_rule_that_is_broken_is_named(event: dict[str, Any], path: str, reason: str) -> None:
    assert refusal(event) == Invalid(path, reason)


@pytest.mark.parametrize(
    "event",
    [
        ANSWER | {"emotions": {"happy": 99, "sad": "x"}},
        ANSWER | {"emotions": "none"},
        ANSWER | {"survey": "csat", "score": -1, "scale": {"min": -2, "max": 2}},
        ANSWER | {"survey": "emotion", "score": 99, "emotions": {"happy": 0, "": 10}},
        ANSWER
        | {
            "survey": "emotion",
            "score": None,
            "emotions": {"a": -1},
            "scale": {"min": -1, "max": 0},
        },
        STARTED | {"currency": "EUR"},
        STARTED | {"amount": 5, "upsell_amount": 5, "currency": "EUR"},
        STARTED | {"type": "subscription.cancelled", "started_at": "2026-03-02T10:00:00.0009Z"},
        VISIT | {"pages": 1.0, "converted": None, "labels": None, "customer_id": None},
        VISIT | {"pages": 1e12, "further": {"type": "x", "occurred_at": 1}},
    ],
)
def test_what_the_rules_allow_is_accepted(event: dict[str, Any]) -> None:
    assert not isinstance(decode_one(encoded(event)), Invalid)


def test_the_last_of_repeated_keys_counts() -> None:
    event: Any = decode_one(visit(b',"pages":1,"pages":2'))
    assert event.pages == 2


def test_ten_thousand_bad_records_among_good_ones_stand_apart() -> None:
    values: list[bytes | None] = [encoded(VISIT), b"{", b"\xff", None] * 10_000
    decoded = Decoder("cx.visit").decode(values)
    kinds = [isinstance(event, Invalid) for event in decoded.events]
    assert kinds == [False, True, True, True] * 10_000


def test_a_good_record_is_not_refused_because_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would lie among the dead letters, and miss in the numbers, for no fault of its own."""
    decoder = Decoder("cx.visit")
    decode, calls = decoder._decode, count(1)

    def short_of_memory(value: bytes) -> Event:
        if next(calls) == 2:
            raise MemoryError
        return decode(value)

    monkeypatch.setattr(decoder, "_decode", short_of_memory)
    values: list[bytes | None] = [encoded(VISIT)] * 3
    with pytest.raises(MemoryError):
        decoder.decode(values)
    assert not any(isinstance(event, Invalid) for event in decoder.decode(values).events)


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (encoded(VISIT), 1_772_445_600_000),
        (encoded(VISIT | {"pages": 0, "type": "x"}), 1_772_445_600_000),
        (encoded({"occurred_at": "yesterday"}), None),
        (encoded({"occurred_at": 5}), None),
        (b"{}", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"occurred_at":"2026-03-02T10:00:00Z"', None),
        (b"[" * 100_000, None),
    ],
)
def test_the_time_of_an_invalid_record_is_read_where_it_can_be(
    value: bytes, at: int | None
) -> None:
    assert occurred_at(value) == at


@pytest.mark.parametrize(
    "extra",
    [
        rb',"x":"cut in an emoji \ud83d"',
        rb',"x":"\uDE00 first"',
        rb',"\udc00\ud800":1',
        rb',"x":{"y":[{"\uD83D":"\ud83d\ud83d\ude00"}]}',
        rb',"x":"\\\ud83d"',
        # Of two values the last one counts.
        rb',"visit_id":"\ud83d","visit_id":"v"',
        rb',"score":"\ud83d","emotions":"\ud83d"',
    ],
)
def test_half_of_a_surrogate_pair_does_no_harm_in_what_is_ignored(extra: bytes) -> None:
    labels, good = b',"labels":{"channel":"web"}', encoded(VISIT)
    values = [visit(labels), visit(labels + extra), visit(extra + labels), good]
    decoder = Decoder("cx.visit")
    decoded = decoder.decode(values)
    first, *others, last = decoded.events
    assert others == [first, first]
    assert first != last
    assert [decoded.labels[place].values for place in range(4)] == [{"channel": "web"}] * 3 + [{}]
    assert decoded.at.tolist() == [parse(VISIT["occurred_at"])] * 4
    assert [decoder.valid(value) for value in values] == decoded.events
    # What does not know of the event type ignores it too.
    assert occurred_at(values[1]) == occurred_at(good)
    assert type_of(values[1]) == "visit.ended"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (visit(rb',"customer_id":"a\uDFFFb"'), "customer_id"),
        (visit(rb',"x":"\ud83d","customer_id":"\ud83d\ud83d\ude00"'), "customer_id"),
        (visit(rb',"event_id":"\ud83d"'), "event_id"),
        (visit(rb',"visit_id":"\\\ud83d"'), "visit_id"),
        (visit(rb',"labels":{"a":"\ud83d"}'), "labels"),
        (visit(rb',"labels":{"\ud83d":null}'), "labels"),
        (encoded(STARTED | {"plan": "\ud83d"}), "plan"),
        (encoded(ANSWER | {"survey": "emotion", "emotions": {"\ud83d": 5}}), "emotions"),
        (encoded(ANSWER | {"emotions": "\ud83d"}), "emotions"),
    ],
)
def test_half_of_a_surrogate_pair_is_refused_in_what_is_read(value: bytes, path: str) -> None:
    invalid = refusal(value)
    assert invalid == Invalid(path, "has half of a surrogate pair, which is no character")


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (visit(rb',"x":"\ud800"')[:-1], "$", "is not JSON: Input data was truncated"),
        (visit(rb',"x":"\ud83d\ude00"') + b"x", "$", "is not JSON: trailing characters"),
        (visit(rb',"x":"\\ud800","y":'), "$", "is not JSON: invalid character"),
        (visit(rb',"x":"\ud800","y":' + b"[" * 100_000 + b"]" * 100_000), "$", "has more than"),
        (visit(b',"x":"\\ud800","y":"\xff"'), "$", "is not UTF-8"),
        (visit(rb',"x":"\ud800","pages":0'), "pages", "expected a number >= 1"),
        (visit(rb',"pages":0,"x":"\ud800"'), "pages", "expected a number >= 1"),
        (visit(rb',"type":"visit\ud800"'), "type", "is no event type"),
        (visit(rb',"occurred_at":"\ud800"'), "occurred_at", "has half"),
        (encoded(ANSWER | {"survey": "\ud83d"}), "survey", "is none of"),
    ],
)
def test_half_of_a_surrogate_pair_hides_nothing_else_that_is_wrong(
    value: bytes, path: str, reason: str
) -> None:
    invalid = refusal(value)
    assert (invalid.path, invalid.reason[: len(reason)]) == (path, reason)


@pytest.mark.parametrize(
    ("name", "value", "path", "reason"),
    [
        ("type", b"1e309", "type", "must be a text"),
        ("type", b'{"a":[1e309]}', "type", "must be a text"),
        ("type", b"1" + b"0" * 5000, "type", "must be a text"),
        ("occurred_at", b"-1e400", "occurred_at", "number out of range"),
        ("event_id", b"1e309", "event_id", "number out of range"),
        ("pages", b'0,"x":', "$", "is not JSON: invalid character"),
        ("pages", b'0,"x":"\n"', "$", "is not JSON: invalid character"),
    ],
)
@pytest.mark.parametrize("topic", [None, "cx.visit"])
def test_of_an_object_it_is_never_said_that_it_is_none(
    name: str, value: bytes, path: str, reason: str, topic: str | None
) -> None:
    others = {other: said for other, said in VISIT.items() if other != name}
    wrong = f'"{name}":'.encode() + value
    for record in (
        encoded(others)[:-1] + b"," + wrong + b"}",
        b"{" + wrong + b"," + encoded(others)[1:],
    ):
        invalid = refusal(record, topic)
        assert (invalid.path, invalid.reason[: len(reason)]) == (path, reason)
