"""The field that a record was refused for is the one that is marked."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.cli.dlq_output import tell_letter, tell_report
from stream.core.catalogue import EVENT_TYPES, TOPIC_OF_TYPE
from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.deadletters.headers import UNDELIVERED
from stream.deadletters.listing import Group
from stream.deadletters.marking import AROUND, HEAD, ROW, Line, caret, has_mark, marked
from stream.deadletters.redrive import Report
from tests.deadletters.letters import refused, visit
from tests.strategies import broken_events


def marks(value: bytes | None, path: str, reason: str = "") -> list[str]:
    """What is marked, with the note that says more of it."""
    return [
        line.text[line.start : line.start + line.length] + (f" <- {line.note}" if line.note else "")
        for line in marked(value, path, reason)
        if line.length
    ]


def refusal(topic: str, value: bytes) -> Invalid:
    """Why the worker refuses a record."""
    (event,) = Decoder(topic).decode([value]).events
    assert isinstance(event, Invalid)
    return event


ANSWER = b'{"event_id":"1","type":"survey.responded","occurred_at":"2026-03-02T10:00:00Z",%s'
CASES = [
    ("cx.visit", visit(pages="three"), '"pages": "three"'),
    ("cx.visit", visit(pages=0), '"pages": 0'),
    ("cx.visit", visit(labels={"channel": "x" * 65, "b": "c"}), f'"channel": "{"x" * 65}"'),
    ("cx.visit", visit(labels={"a": "b", "a.b": 7}), '"a.b": 7'),
    ("cx.visit", visit(labels=[]), '"labels": []'),
    ("cx.visit", visit(type="visit.began"), '"type": "visit.began"'),
    ("cx.visit", visit(occurred_at="yesterday"), '"occurred_at": "yesterday"'),
    ("cx.visit", b'{"type":"visit.ended"}', "{ <- has no visit_id"),
    ("cx.visit", visit(pages=1)[:-1] + b',"pages":null,"pages":"x"}', '"pages": "x"'),
    (
        "cx.survey",
        ANSWER % b'"response_id":"r","survey":"nps","score":5,"scale":{"min":1}}',
        '"scale": { <- has no max',
    ),
    (
        "cx.survey",
        ANSWER % b'"response_id":"r","survey":"emotion","emotions":{"sad":1,"happy":1.50e1}}',
        '"happy": 1.50e1',
    ),
]


@pytest.mark.parametrize(("topic", "value", "expected"), CASES)
def test_the_field_that_was_refused_is_marked(topic: str, value: bytes, expected: str) -> None:
    why = refusal(topic, value)
    assert marks(value, why.path, why.reason) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (visit() + b"}", "}"),
        (b'{"a":"\x01"}', r"\x01"),
        (b'{"a":\xff}', r"\xff"),
        (b"{" + b'"a":1,' * 100 + b"]" + b" " * 3_000, "]"),
        (b" " * 5_000 + b"\x1b", r"\x1b"),
    ],
)
def test_the_byte_where_json_ends_is_marked(value: bytes, expected: str) -> None:
    why = refusal("cx.visit", value)
    assert marks(value, why.path, why.reason) == [expected]


def test_what_is_cut_off_is_marked_at_its_end() -> None:
    value = visit()[:-1]
    why = refusal("cx.visit", value)
    (line,) = [x for x in marked(value, why.path, why.reason) if x.length]
    assert (line.start, line.length) == (len(line.text), 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ["(no value)"]), (b"", []), (b"nope", ["nope"]), (b"7", ["7"]), (b"[]", ["[]"])],
)
def test_what_is_no_object_is_shown_as_it_is(value: bytes | None, shown: list[str]) -> None:
    assert [line.text for line in marked(value, "$", "is no object")] == shown


def test_numbers_stand_as_they_were_written() -> None:
    digits = b"1" * 50
    value = b'{"a":1.50,"b":1E400,"c":-0,"d":%s}' % digits
    assert [line.text.strip(" ,") for line in marked(value, "a", "")][1:-1] == [
        '"a": 1.50',
        '"b": 1E400',
        '"c": -0',
        f'"d": {digits.decode()}',
    ]


def test_of_a_long_record_the_marked_line_is_shown_with_what_is_around_it() -> None:
    value = orjson.dumps({f"f{i}": i for i in range(10_000)})
    lines = marked(value, "f5000", "")
    texts = [line.text for line in lines]
    assert len(lines) <= HEAD + 2 * AROUND + 3
    assert marks(value, "f5000") == ['"f5000": 5000']
    assert '  "f4995": 4995,' in texts
    assert '  "f5005": 5005,' in texts
    skipped = [t for t in texts if "more lines" in t]
    # 10,002 lines: those shown and those left out are all.
    assert sum(int(t.split()[1].replace(",", "")) for t in skipped) == 10_002 - len(lines) + 2


@pytest.mark.parametrize(
    ("value", "reason", "line"),
    [
        (b"\xff" * (16 * ROW + 1), "", "… 1 more byte"),
        (b"\xff" * (16 * ROW + 2), "", "… 2 more bytes"),
        (b"a" * (8 * ROW + 1), f"is not JSON (byte {8 * ROW + 1})", "… 1 byte before"),
        (orjson.dumps(list(range(HEAD - 1))), "", "… 1 more line"),
    ],
)
def test_one_of_what_is_left_out_is_not_told_as_many(value: bytes, reason: str, line: str) -> None:
    assert line in [shown.text for shown in marked(value, "x", reason)]


def test_one_more_reason_is_not_told_as_many(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    for number in range(6):
        report.refused.count(Group("cx.visit", "invalid", f"field{number}", "is required"), 0)
    tell_report(report, 0.0, executed=False, as_json=False)
    assert "  and 1 more reason\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500]
)
def test_deep_records_are_shown_one_way_or_the_other(value: bytes) -> None:
    lines = marked(value, "$", "has more than 500 objects and lists within one another")
    assert 0 < len(lines) < 100
    assert all(line.text.isprintable() for line in lines)


@settings(deadline=None)
@given(st.sampled_from(sorted(EVENT_TYPES)).flatmap(broken_events))
def test_whatever_rule_is_broken_a_line_is_marked(broken: tuple[dict[str, object], str]) -> None:
    event, _ = broken
    value = orjson.dumps(event)
    topic = TOPIC_OF_TYPE.get(str(event.get("type")), "cx.visit")
    why = refusal(topic, value)
    lines = marked(value, why.path, why.reason)
    assert has_mark(lines)
    name = why.path.split(".")[0]
    (line,) = [x for x in lines if x.length]
    inside = [x.text for x in lines[: lines.index(line) + 1]]
    assert line.note or why.path == "$" or any(f'"{name}": ' in text for text in inside)


@settings(deadline=None)
@given(st.binary(max_size=3_000), st.text(max_size=20), st.text(max_size=20))
def test_any_bytes_become_few_printable_lines(value: bytes, path: str, reason: str) -> None:
    lines = marked(value, path, reason)
    assert len(lines) < 100
    assert all(line.text.isprintable() and caret(line, reason).isprintable() for line in lines)


@settings(deadline=None)
@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.text(), inner)), st.text())  # fmt: skip
def test_any_json_is_laid_out_in_printable_lines(tree: object, path: str) -> None:
    value = orjson.dumps(tree)
    assert all(line.text.isprintable() for line in marked(value, path, ""))


def test_the_pointer_stands_below_what_it_points_at() -> None:
    line = Line('    "pages": "three"', 4, 16)
    assert caret(line, "expected a number") == "    ^^^^^^^^^^^^^^^^ expected a number"
    assert caret(line._replace(note="has no x"), "is required").endswith(" has no x: is required")


@pytest.mark.parametrize("value", [b'{"rule": "Low"}', b"no JSON"])
def test_in_what_a_sink_could_not_be_told_nothing_is_marked(
    value: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = refused(
        topic="cx.alert",
        value=value,
        outcome=UNDELIVERED,
        field="sink webhook",
        reason="no answer (connection refused)",
    )
    tell_letter(letter, "g", redriven=False)
    shown = capsys.readouterr().out
    assert "reason       no answer (connection refused)" in shown
    assert "^" not in shown
    assert "has no sink webhook" not in shown
