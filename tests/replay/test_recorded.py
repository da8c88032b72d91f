"""Lines that can't be sent are named in words, with the place in the line."""

from __future__ import annotations

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
