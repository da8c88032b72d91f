"""Reading, choosing, counting and judging dead letters."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.settings import HOUR, MINUTE
from stream.core.timestamps import format_ms
from stream.deadletters.filters import Filter
from stream.deadletters.headers import Header, Source, is_of, of_refusal, own, refusal_headers
from stream.deadletters.letter import REDRIVEN, Letter, letter
from stream.deadletters.listing import Counts, Group, Newest
from stream.deadletters.redrive import Judge, Judged, Report, Target, size
from stream.deadletters.rules import rule
from tests.deadletters.letters import NOW, refused, visit

# Reading -------------------------------------------------------------------------------------


def test_what_is_sent_again_has_its_own_headers_and_how_often_it_was_sent() -> None:
    came: tuple[Header, ...] = (("trace", b"\xff"), ("empty", None), ("trace", b"2"))
    once = refused(more=came)
    assert once.rounds == 0
    again = once.headers_again()
    assert again == [*came, (REDRIVEN, b"1")]
    twice = refused(more=tuple(again))
    assert twice.rounds == 1
    assert twice.headers_again() == [*came, (REDRIVEN, b"2")]


def test_the_worker_keeps_the_count_among_a_records_own_headers() -> None:
    assert own([(REDRIVEN, b"1"), ("cxkpi.field", b"x")]) == [(REDRIVEN, b"1")]


@given(st.text(st.characters(exclude_categories=()), max_size=2_000), st.integers(0, 10**17))
def test_what_is_written_of_a_refusal_is_read_from_its_letter(text: str, number: int) -> None:
    source = Source("eu.cx.visit", number % 100, number)
    written = refusal_headers(
        source, "S", text, outcome="invalid", field=text, reason=text, group=text
    )
    read = letter("cx.visit", 0, 0, NOW, None, None, (("trace", b"1"), *written))
    said = text[:1_000].encode(errors="replace").decode()
    assert (read.outcome, read.field, read.reason) == ("invalid", said, said)
    assert (read.group, read.is_of(said)) == (said, True)
    assert read.is_of("another") == (said in ("", "another")) == is_of(written, "another")
    assert (read.source_partition, read.source_offset) == (number % 100, number)
    assert read.own_headers() == [("trace", b"1")]
    assert of_refusal(read.headers) == written


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    *(REDRIVEN, "cxkpi.outcome", "cxkpi.field", "cxkpi.group", "cxkpi.left_out"),
                    *("__connect.errors.partition", "x"),
                ]
            ),
            st.none() | st.binary(max_size=30),
        )
    )
)
def test_headers_may_hold_anything(headers: list[Header]) -> None:
    found = letter("cx.visit", 3, 9, NOW, None, b"x", tuple(headers))
    assert found.rounds >= 0
    assert found.target >= 0
    assert found.row(redriven=False)["offset"] == 9
    assert found.is_of("g") == is_of(headers, "g")


def test_a_letter_of_others_goes_to_the_partition_where_it_lies() -> None:
    theirs = letter("cx.visit", 3, 9, NOW, None, b"x", ())
    assert (theirs.target, theirs.outcome, theirs.source_offset) == (3, "unknown", None)


# Filters -------------------------------------------------------------------------------------

LABEL = refused(field="labels.channel", reason="must have 1 to 64 Characters", outcome="invalid")


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(outcomes=frozenset({"invalid"})), True),
        (Filter(outcomes=frozenset({"future", "orphan"})), False),
        (Filter(reason="labels.channel"), True),
        (Filter(reason="labels"), True),
        (Filter(reason="label"), False),
        (Filter(reason="channel"), False),
        (Filter(reason="64 CHARACTERS"), True),
        (Filter(since=NOW), True),
        (Filter(since=NOW + 1), False),
        (Filter(until=NOW), False),
        (Filter(until=NOW + 1), True),
        (Filter(frozenset({"invalid"}), "labels", NOW, NOW + 1), True),
        (Filter(frozenset({"invalid"}), "other", NOW, NOW + 1), False),
    ],
)
def test_a_letter_fits_where_every_part_does(wanted: Filter, fits: bool) -> None:
    assert wanted.wants(LABEL) is fits


# Lists and counts ----------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 20))
def test_a_list_keeps_the_newest_in_order_of_time(times: list[int], limit: int) -> None:
    letters = [refused(i, at=NOW + t) for i, t in enumerate(times)]
    newest = Newest(limit)
    for one in random.Random(1).sample(letters, len(letters)):
        newest.add(one, redriven=False)
    expected = sorted((x.at, x.offset) for x in letters)[-limit:]
    assert [(x.letter.at, x.letter.offset) for x in newest.letters()] == expected
    assert newest.seen == len(letters)


def test_a_list_holds_no_records_and_only_the_beginning_of_keys() -> None:
    newest = Newest(1)
    newest.add(refused(value=b"x" * 10**6, key=b"y" * 10**6, reason="z" * 10**6), redriven=True)
    (listed,) = newest.letters()
    assert (listed.letter.value, listed.letter.headers, listed.redriven) == (None, (), True)
    assert len(listed.letter.key or b"") < 2_000
    assert len(listed.letter.reason) < 2_000


def test_letters_are_counted_by_topic_outcome_field_and_reason() -> None:
    counts = Counts()
    for offset, (field, reason, at) in enumerate(
        [
            ("$", "is not JSON: it ends (byte 7)", 5),
            ("$", "is not JSON: it ends (byte 12)", 3),
            ("pages", "is wrong", 4),
        ]
    ):
        counts.add(refused(offset, field=field, reason=reason, at=NOW + at))
    assert counts.rows() == [
        {
            "topic": "cx.visit",
            "outcome": "invalid",
            "field": "$",
            "reason": "is not JSON: it ends (byte …)",
            "count": 2,
            "first": format_ms(NOW + 3),
            "last": format_ms(NOW + 5),
        },
        {
            "topic": "cx.visit",
            "outcome": "invalid",
            "field": "pages",
            "reason": "is wrong",
            "count": 1,
            "first": format_ms(NOW + 4),
            "last": format_ms(NOW + 4),
        },
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=50), st.integers(1, 5))
def test_counts_are_bounded_and_lose_nothing(reasons: list[int], most: int) -> None:
    counts = Counts(most)
    for number in reasons:
        counts.add(refused(reason=f"reason {number}"))
    groups = list(counts.groups())
    assert counts.total == sum(t.count for _, t in groups) == len(reasons)
    assert len(groups) <= most + 1
    kept = list(dict.fromkeys(reasons))[:most]
    assert {g.reason for g, _ in groups if g} == {f"reason {n}" for n in kept}
    assert any(g is None for g, _ in groups) == (len(set(reasons)) > most)


# Judging -------------------------------------------------------------------------------------

TARGET = Target(partitions=4, limit=10_000)


def judged(letter: Letter, *, now: int = NOW, sent: bool = False, **options: Any) -> Judged:
    judge = Judge("cx.visit", TARGET, lambda letter: sent, **options)
    (found,) = judge.judge([letter], now)
    return found


AHEAD = visit(occurred_at=format_ms(NOW + HOUR))
ROUNDS: tuple[Header, ...] = ((REDRIVEN, b"3"),)
LEFT_OUT = refused(7, key=None, left_out="3000000 bytes, more than the topic takes unpacked")


@pytest.mark.parametrize(
    ("one", "verdict", "said"),
    [
        (judged(refused(value=visit())), "send", None),
        (judged(refused(value=visit()), sent=True), "sent before", None),
        (judged(refused(value=visit(pages="x"))), "refused", "pages"),
        (judged(refused(value=visit(pages="x")), even_if_refused=True), "send", None),
        (judged(refused(value=None)), "refused", "$"),
        (judged(refused(value=AHEAD)), "refused", "occurred_at"),
        (judged(refused(value=AHEAD), now=NOW + HOUR - MINUTE - 1), "refused", "occurred_at"),
        (judged(refused(value=AHEAD), now=NOW + HOUR - MINUTE), "send", None),
        (judged(refused(value=visit(), partition=4)), "no partition", None),
        (judged(refused(value=visit(), more=ROUNDS)), "rounds", None),
        (judged(refused(value=visit(), more=ROUNDS), most_rounds=4), "send", None),
        (judged(refused(value=visit(note="x" * 9_900))), "too large", None),
        (judged(refused(value=visit(note="x" * 9_000))), "send", None),
        (judged(LEFT_OUT), "left out", None),
        (judged(LEFT_OUT, even_if_refused=True), "left out", None),
        (judged(LEFT_OUT, sent=True), "sent before", None),
    ],
)
def test_what_is_to_become_of_a_letter(one: Judged, verdict: str, said: str | None) -> None:
    assert one.verdict == verdict
    assert (one.again.field if one.again else None) == said


def test_a_letter_whose_source_topic_is_gone_is_told_from_one_of_a_partition_too_many() -> None:
    judge = Judge("cx.visit", Target(0, 0), lambda letter: False)
    assert [j.verdict for j in judge.judge([refused(value=visit())], NOW)] == ["no topic"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["good", "bad", "ahead", "none"]), max_size=30))
def test_letters_are_judged_alone_and_in_their_order(kinds: list[str]) -> None:
    values = {"good": visit(), "bad": b"{", "ahead": AHEAD, "none": None}
    letters = [refused(i, value=values[kind]) for i, kind in enumerate(kinds)]
    found = Judge("cx.visit", TARGET, lambda letter: False).judge(letters, NOW)
    assert [j.letter for j in found] == letters
    assert [j.verdict == "send" for j in found] == [kind == "good" for kind in kinds]


def test_the_size_counts_key_value_and_headers() -> None:
    plain = size(refused(value=b"x"))
    assert size(refused(value=b"x" * 101)) == plain + 100
    assert size(refused(value=b"x", key=b"k" * 101)) == plain + 100
    assert size(refused(value=b"x", more=(("own", b"1" * 100),))) > plain + 100


def test_a_report_counts_what_was_sent_where_and_what_was_left_and_why() -> None:
    report = Report()
    for one in (
        judged(refused(value=visit(), partition=2)),
        judged(refused(value=visit(), partition=2)),
        judged(refused(value=visit()), sent=True),
    ):
        report.add(one)
    findings = [report.has_findings]
    report.add(judged(refused(value=b"{")))
    assert [*findings, report.has_findings] == [False, True]
    said = report.as_dict(executed=True)
    assert said["records"] == 2
    assert said["to"] == [{"topic": "cx.visit", "partition": 2, "records": 2}]
    assert said["left"] == {
        "sent_before": 1,
        "refused": 1,
        "rounds": 0,
        "too_large": 0,
        "no_topic": 0,
        "no_partition": 0,
        "left_out": 0,
    }
    assert said["left_by_topic"] == [
        {"topic": "cx.visit", "reason": "refused", "records": 1},
        {"topic": "cx.visit", "reason": "sent_before", "records": 1},
    ]
    assert [r["field"] for r in said["refused"]] == ["$"]
    assert report.refused.total == 1
    assert next(report.refused.groups())[0] == Group(
        "cx.visit", "invalid", "$", "is not JSON: Input data was truncated"
    )


def test_a_report_says_where_records_lie_that_their_letters_do_not_hold() -> None:
    report = Report()
    for _ in range(2_000):
        report.add(judged(LEFT_OUT))
    said = report.as_dict(executed=True)
    assert (report.has_findings, said["left"]["left_out"]) == (True, 2_000)
    assert len(said["left_out"]) == 1_000
    assert said["left_out"][0] == {
        "letter": "cx.visit/0/7",
        "source": "cx.visit, partition 0, offset 1007",
    }


# Rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (refused(outcome="future", field="occurred_at"), "at most 60 s ahead of the clock"),
        (refused(outcome="orphan", field="type"), "needs the answer"),
        (refused(field="$"), "one JSON object in UTF-8"),
        (refused(field="type"), "type is one of visit.ended"),
        (refused(field="pages", value=visit()), "pages (optional): a whole number, at least 1"),
        (refused(field="visit_id", value=visit()), "(required): a text of 1 to 128 characters"),
        (refused(field="labels.x", value=visit()), "labels.x: a text of 1 to 64 characters"),
        (refused(field="occurred_at", value=visit()), "an RFC 3339 date-time"),
        (refused(field="scale.max", value=visit(type="survey.responded")), "scale.max (required)"),
        (refused(field="score", value=visit(type="survey.updated")), "on the scale"),
        (refused(field="sentiment", value=visit(type="survey.updated")), "a number from -1 to 1"),
        (refused(field="currency", value=visit(type="cart.opened")), "three capitals"),
        (refused(field="survey", value=visit(type="survey.responded")), "one of "),
    ],
)
def test_the_rule_that_was_broken_is_said(one: Letter, said: str) -> None:
    assert said in rule(one)


@settings(deadline=None)
@given(st.none() | st.binary(max_size=50), st.text(max_size=20), st.text(max_size=9))
def test_where_no_rule_is_known_none_is_said(value: bytes | None, field: str, outcome: str) -> None:
    headers = (("cxkpi.outcome", outcome.encode()), ("cxkpi.field", field.encode()))
    assert isinstance(rule(letter("x", 0, 0, NOW, None, value, headers)), str)
