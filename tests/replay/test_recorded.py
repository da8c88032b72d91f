"""Lines that can't be sent are named in words, with the place in the line."""

from __future__ import annotations

import json

import orjson
import pytest

from stream.replay.recorded import TIMES, Unsendable, address


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b" \n", "a blank line"),
        (b"[1, 2\n", r"not JSON: .+ \(column \d+\)"),
        (b"nonsense\n", r"not JSON: .+ \(column \d+\)"),
        (b'{"type": "\xff"}\n', "is not UTF-8"),
        (b"[]\n", "no event type"),
        (b'{"type": "hello"}\n', "no event type: 'hello'; allowed: survey.responded, .+"),
        (
            b'{"type": "survey.respnded"}\n',
            "no event type: 'survey.respnded'; did you mean \"survey.responded\"[?] allowed: .+",
        ),
    ],
)
def test_a_line_that_belongs_to_no_topic_is_told_in_words(line: bytes, said: str) -> None:
    with pytest.raises(Unsendable, match=f"^{said}$"):
        address(line)


def test_the_fields_that_hold_a_time_are_found_however_they_are_described() -> None:
    assert set(TIMES) == {"occurred_at", "opened_at", "started_at"}


@pytest.mark.parametrize(
    ("entity", "key"),
    [
        ("v", b"v"),
        ("\u00e9", "\u00e9".encode()),
        ("", None),
        (7, None),
        (None, None),
        (["v"], None),
    ],
)
def test_the_key_is_the_entity_or_none_where_there_is_no_text_of_it(
    entity: object, key: bytes | None
) -> None:
    assert address(orjson.dumps({"type": "visit.ended", "visit_id": entity})).key == key
    assert address(b'{"type":"visit.ended"}').key is None


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30T10:00:00Z", "2026-03-02", "", None, 7])
def test_what_is_no_time_stays_as_it_is_beside_times_that_are_moved(text: object) -> None:
    line = {"type": "ticket.closed", "opened_at": text, "occurred_at": "2026-03-02T10:00:00Z"}
    moved = orjson.loads(address(orjson.dumps(line), shift=60_000).value)
    assert moved == line | {"occurred_at": "2026-03-02T10:01:00.000Z"}


def test_all_times_of_a_line_are_moved_together() -> None:
    line = orjson.dumps(
        {
            "type": "ticket.closed",
            "ticket_id": "t",
            "opened_at": "2026-03-02T09:00:00Z",
            "occurred_at": "2026-03-02T10:00:00Z",
        }
    )
    moved = orjson.loads(address(line, shift=60_000).value)
    assert moved["opened_at"] == "2026-03-02T09:01:00.000Z"
    assert moved["occurred_at"] == "2026-03-02T10:01:00.000Z"


def test_half_of_a_surrogate_pair_goes_on_to_the_worker_as_it_is() -> None:
    line = (
        rb'{"type":"ticket.closed","ticket_id":"t","occurred_at":"2026-03-02T10:00:00Z",'
        rb'"x":"\ud83d","customer_id":"\ud83d"}'
    )
    assert address(line) == ("cx.ticket", b"t", line)
    moved = address(line, shift=60_000)
    assert moved.key == b"t"
    assert json.loads(moved.value) == json.loads(line) | {"occurred_at": "2026-03-02T10:01:00.000Z"}


def test_a_line_with_half_a_pair_that_this_python_can_not_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_deep(_: bytes) -> object:
        raise RecursionError

    monkeypatch.setattr(json, "loads", too_deep)
    with pytest.raises(Unsendable, match="is nested too deeply"):
        address(rb'{"type":"visit.ended","x":"\ud83d"}', 1)
