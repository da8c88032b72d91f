"""Topic, key and times of recorded lines."""

from __future__ import annotations

import json

import pytest

from stream.core.settings import DAY, HOUR, MINUTE
from stream.generate.company import events
from stream.replay.recorded import Unsendable, address

START = 1_772_445_600_000


def test_generated_events_are_addressed_as_they_were_generated() -> None:
    for _, topic, key, value in events(START, START + 5 * MINUTE, rate=20):
        assert address(value) == (topic, key, value)


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ({"type": "visit.ended", "visit_id": "v"}, b"v"),
        ({"type": "visit.ended", "visit_id": "\u00fc"}, "\u00fc".encode()),
        ({"type": "customer.signal", "customer_id": "c", "signal": "s"}, b"c"),
        ({"type": "subscription.base", "labels": {"b": "2", "a": "1"}}, b'{"a":"1","b":"2"}'),
        ({"type": "subscription.base", "labels": {"b": "2", "a": None}}, b'{"b":"2"}'),
        ({"type": "subscription.base"}, b"{}"),
        ({"type": "subscription.base", "labels": {"a": 1}}, None),
        ({"type": "visit.ended"}, None),
        ({"type": "visit.ended", "visit_id": 7}, None),
        ({"type": "visit.ended", "visit_id": ""}, None),
    ],
)
def test_the_key_is_the_entity(event: dict[str, object], key: bytes | None) -> None:
    assert address(json.dumps(event).encode()).key == key


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"text", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"type":"visit.ended","pages":NaN}', "not JSON"),
        (b"[1]", "no event type"),
        (b"{}", "no event type"),
        (b'{"type":1}', "no event type: '1'"),
        (b'{"type":"visit.begun"}', "no event type: 'visit.begun'"),
    ],
)
def test_a_line_of_no_event_type_has_no_address(line: bytes, said: str) -> None:
    with pytest.raises(Unsendable, match=said):
        address(line)


def test_without_a_shift_a_line_stays_byte_by_byte() -> None:
    line = b'{ "type":"visit.ended","visit_id":"v", "occurred_at":"2026-03-02t10:00:00z"}'
    assert address(line).value == line


def test_a_shift_moves_all_times_and_nothing_else() -> None:
    event = {
        "type": "ticket.closed",
        "ticket_id": "t",
        "occurred_at": "2026-03-02T10:00:00+01:00",
        "opened_at": "2026-03-01T10:00:00.5Z",
        "started_at": "yesterday",
        "contacts": 1.0,
        "labels": {"occurred_at": "2026-03-02T10:00:00Z"},
    }
    moved = json.loads(address(json.dumps(event).encode(), 2 * DAY + HOUR).value)
    assert moved == event | {
        "occurred_at": "2026-03-04T10:00:00.000Z",
        "opened_at": "2026-03-03T11:00:00.500Z",
    }
