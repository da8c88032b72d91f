"""Segments, and values beyond a dimension's limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream.core import segments as segmenting
from stream.core.decode import Decoder
from stream.core.labels import LabelColumn, Labels
from stream.core.migration import Migration
from stream.core.packed import unpacked_steps
from stream.core.segments import Segments
from stream.core.settings import DAY, MINUTE, Settings
from stream.core.values import OTHER, Segment, Values
from tests.reference.streams import NOON, text

TWO = Settings(dimensions=("channel",), rollups=((), ("channel",)), max_values_per_dimension=2)


def labels(**values: str) -> Labels:
    pairs = ",".join(f'"{k}":"{v}"' for k, v in values.items())
    record = (
        f'{{"event_id":"e","type":"visit.ended","occurred_at":"{text(NOON)}",'
        f'"visit_id":"v","labels":{{{pairs}}}}}'
    )
    return Decoder(None).decode([record.encode()]).labels[0]


def channels(segments: Segments, *names: str, at: int = NOON) -> list[str | None]:
    rows = [segments.row(labels(channel=name), None, at) for name in names]
    return [(segments.rows[row] or (None,))[0] for row in rows]


def test_a_place_is_freed_by_event_time_before_1970_too() -> None:
    core = replace(TWO, max_values_per_dimension=1)
    segments = Segments(core, Values(core))
    assert channels(segments, "a", at=-40 * DAY) == ["a"]
    assert channels(segments, "b", at=-38 * DAY) == [OTHER]
    assert channels(segments, "b", at=-20 * DAY) == ["b"]


def test_values_accepted_first_are_kept_and_further_ones_fold() -> None:
    segments = Segments(TWO, Values(TWO))
    assert channels(segments, "a", "b", "c", "d", "a") == ["a", "b", OTHER, OTHER, "a"]


def test_other_itself_takes_no_place() -> None:
    segments = Segments(TWO, Values(TWO))
    assert channels(segments, OTHER, "a", "b", "c") == [OTHER, "a", "b", OTHER]


@pytest.mark.parametrize(("later", "found"), [(7 * DAY, OTHER), (7 * DAY + 1, "c")])
def test_a_value_not_accepted_for_longer_than_the_memory_frees_its_place(
    later: int, found: str
) -> None:
    segments = Segments(TWO, Values(TWO))
    channels(segments, "a")
    channels(segments, "b", at=NOON + later)
    assert channels(segments, "c", at=NOON + later) == [found]


def test_shards_share_one_decision() -> None:
    values = Values(TWO)
    one, two = Segments(TWO, values), Segments(TWO, values)
    assert channels(one, "a") == ["a"]
    assert channels(two, "b", "c") == ["b", OTHER]
    assert channels(one, "c", "b") == [OTHER, "b"]


def test_values_keep_their_places_after_a_restart() -> None:
    before = Segments(TWO, Values(TWO))
    channels(before, "a", "b")
    after = Segments(TWO, Values(TWO))
    after.load("0", before.dump("0"))
    assert channels(after, "c", "a") == [OTHER, "a"]


def test_segments_beyond_the_budget_share_one() -> None:
    core = replace(TWO, max_segments=1, max_values_per_dimension=9)
    segments = Segments(core, Values(core))
    assert channels(segments, "a", "b", "c") == ["a", OTHER, OTHER]


def test_one_new_segment_leaves_the_others_known() -> None:
    segments = Segments(TWO, Values(TWO))
    row = segments.row(labels(channel="a"), None, NOON)
    found = [labels(channel=name) for name in "aba"]
    assert segments.known_rows(LabelColumn.of(found), {}, NOON).tolist() == [row, -1, row]


def test_rows_are_those_of_the_labels_whatever_their_numbers_are() -> None:
    segments = Segments(TWO, Values(TWO))
    a, b = (segments.row(labels(channel=name), None, NOON) for name in "ab")
    for names in ("ab", "ba", "aab", "b"):
        column = LabelColumn.of([labels(channel=name) for name in names])
        wanted = [{"a": a, "b": b}[name] for name in names]
        assert segments.known_rows(column, {}, NOON).tolist() == wanted
        assert segments.known_rows(column, {}, NOON).tolist() == wanted, "also the second time"


def test_amounts_have_the_rows_of_their_currencies() -> None:
    segments = Segments(TWO, Values(TWO))
    web = labels(channel="web")
    eur, usd, none = (segments.row(web, currency, NOON) for currency in ("EUR", "USD", None))
    column = LabelColumn.of([web] * 5)
    found = segments.known_rows(column, {0: "EUR", 2: "USD", 3: "GBP"}, NOON)
    assert found.tolist() == [eur, none, usd, -1, none]


def test_a_row_that_was_freed_is_not_known_by_its_labels_any_more() -> None:
    segments = Segments(TWO, Values(TWO))
    channels(segments, "a", "b")
    column = LabelColumn.of([labels(channel=name) for name in "ab"])
    assert segments.known_rows(column, {}, NOON).tolist() == [0, 1]
    later = NOON + 30 * DAY
    list(segments.expire(later))
    assert segments.known_rows(column, {}, later).tolist() == [-1, -1]
    # Both get a row anew, each that of the other.
    channels(segments, "a", "b", at=later)
    assert segments.known_rows(column, {}, later).tolist() == [1, 0]


def test_rows_that_were_freed_are_no_segments_any_more() -> None:
    settings = replace(TWO, max_values_per_dimension=9)
    segments = Segments(settings, Values(settings))
    assert len(segments) == 0
    channels(segments, "a", "b", "c")
    assert len(segments) == 3
    later = NOON + 30 * DAY
    channels(segments, "d", at=later)
    assert list(segments.expire(later)) == []
    assert len(segments) == 1
    recovered = Segments(settings, Values(settings))
    recovered.load("0", segments.dump("0"))
    assert len(recovered) == 1
    channels(segments, "e", "f", at=later)
    assert len(segments) == 3


def of_one_dimension_less(limit: int) -> Segments:
    """The rows of ten agents in two channels, read where agents are no dimension any more."""
    both = replace(TWO, dimensions=("channel", "agent"), max_values_per_dimension=99)
    before = Segments(both, Values(both))
    for agent in range(10):
        before.row(labels(channel="ab"[agent % 2], agent=f"a{agent}"), None, NOON + agent)
    less = replace(both, dimensions=("channel",), max_segments=limit)
    dumped = {"0": before.dump("0")}
    migrated = Migration(both, less, {}, lambda s: s).migrated("segments", dumped)
    after = Segments(less, Values(less))
    after.load("0", migrated["0"])
    after.recovered(NOON + 10)
    return after


def test_rows_that_have_become_one_segment_take_the_room_of_one() -> None:
    segments = of_one_dimension_less(12)
    assert (len(segments), segments.room()) == (2, 10)
    assert channels(segments, *"abcde") == [*"abcde"]
    # The latest of them stands for all.
    assert segments.row(labels(channel="b"), None, NOON) == 9
    assert (len(segments), segments.room()) == (5, 7)


@pytest.mark.parametrize("limit", [4, 6, 8])
def test_rows_that_have_become_one_segment_take_no_room_where_the_limit_is_lowered(
    limit: int,
) -> None:
    segments = of_one_dimension_less(limit)
    assert (len(segments), segments.room()) == (2, limit - 2)
    names = "abcdefghi"
    assert channels(segments, *names) == [*names[:limit], *[OTHER] * (len(names) - limit)]


def test_rows_that_go_leave_the_segment_to_those_that_stay() -> None:
    segments = of_one_dimension_less(12)
    segments.saw(np.array([1]), np.array([NOON + 2 * DAY]))
    later = NOON + 9 * DAY
    list(segments.expire(later))
    assert (len(segments), segments.room()) == (1, 11)
    assert segments.row(labels(channel="b"), None, later) == 1


@pytest.mark.parametrize("limit", [9, 3])
def test_segments_beyond_the_budget_are_known_once_they_were_found(limit: int) -> None:
    """Also where a dimension has exactly as many values as find a place."""
    core = replace(TWO, max_segments=1, max_values_per_dimension=limit)
    segments = Segments(core, Values(core))
    found = [labels(channel=name) for name in "abc"]
    rows = [segments.row(each, None, NOON) for each in found]
    assert segments.known_rows(LabelColumn.of(found), {}, NOON + DAY).tolist() == rows


def test_values_without_a_place_are_known_until_one_may_be_free() -> None:
    segments = Segments(TWO, Values(TWO))
    channels(segments, "a", "b", "c")
    found, until = LabelColumn.of([labels(channel="c")]), NOON + 7 * DAY
    assert segments.known_rows(found, {}, until).tolist() != [-1]
    assert segments.known_rows(found, {}, until + 1).tolist() == [-1]
    assert segments.known_rows(found, {}, until).tolist() == [-1], "it was forgotten"


def test_a_value_beyond_the_budget_is_asked_for_again_after_long_silence() -> None:
    core = replace(TWO, max_segments=1)
    values = Values(core, shared=True)
    segments = Segments(core, values)
    found = [labels(channel="b")]
    channels(segments, "a", "b")
    values.decide(values.propose([{}]), values.asked())
    assert segments.known_rows(LabelColumn.of(found), {}, NOON + 7 * DAY).tolist() != [-1]
    assert segments.known_rows(LabelColumn.of(found), {}, NOON + 7 * DAY + 1).tolist() == [-1]
    segments.row(found[0], None, NOON + 7 * DAY + 1)
    assert values.undecided == [{"b": NOON + 7 * DAY + 1}]


def test_currencies_never_fold() -> None:
    core = replace(TWO, max_values_per_dimension=1)
    segments = Segments(core, Values(core))
    rows = [segments.row(labels(channel="a"), c, NOON) for c in ("EUR", "USD", "CHF")]
    assert [segments.rows[r] for r in rows] == [("a", "EUR"), ("a", "USD"), ("a", "CHF")]


def test_beyond_the_budget_amounts_stay_in_their_currency_or_are_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums over several mean nothing, and events may hold as many as there are three letters."""
    monkeypatch.setattr(segmenting, "CURRENCY_ROOM", 3)
    core = replace(TWO, max_segments=1, max_values_per_dimension=9)
    segments = Segments(core, Values(core))
    told = [("a", "EUR"), ("b", "EUR"), ("c", "USD"), ("d", "USD"), ("d", None)]
    told += [("e", "CHF"), ("f", "GBP"), ("a", "JPY"), ("b", "EUR"), ("a", "EUR")]
    rows = [segments.row(labels(channel=c), currency, NOON) for c, currency in told]
    found = [("a", "EUR"), (OTHER, "EUR"), (OTHER, "USD"), (OTHER, "USD"), (OTHER, None)]
    found += [(OTHER, None)] * 3 + [(OTHER, "EUR"), ("a", "EUR")]
    assert [segments.rows[row] for row in rows] == found
    assert len(segments) == 4


def test_without_room_for_a_currency_labels_are_still_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(segmenting, "CURRENCY_ROOM", 0)
    core = replace(TWO, max_segments=1)
    segments = Segments(core, Values(core))
    rows = [segments.row(labels(channel=c), "EUR", NOON) for c in "ab"]
    rows.append(segments.row(labels(), "EUR", NOON))
    assert [segments.rows[r] for r in rows] == [("a", "EUR"), (OTHER, None), (None, None)]


def test_a_value_that_has_lost_its_place_does_not_get_it_back_by_a_restart() -> None:
    core = replace(TWO, max_values_per_dimension=1)
    before = Segments(core, Values(core))
    channels(before, "a")
    assert channels(before, "b", at=NOON + 8 * DAY) == ["b"]
    after = Segments(core, Values(core))
    after.load("0", before.dump("0"))
    after.recovered(NOON + 8 * DAY)
    assert channels(after, "a", "b", at=NOON + 8 * DAY) == [OTHER, "b"]


def triples(segments: Segments, change: Any) -> list[tuple[int, Segment | None, int]]:
    """A change as formats 4 and 5 had it."""
    rows, seen = (unpacked_steps(column).tolist() for column in change[:2])
    return [(row, segments.rows[row], at) for row, at in zip(rows, seen, strict=True)]


@pytest.mark.parametrize(
    "written",
    [
        lambda _, change: change,
        triples,
        lambda segments, change: triples(segments, change)[::-1],
    ],
    ids=["as today", "as before", "as before, turned"],
)
def test_a_row_that_was_freed_and_taken_by_another_is_no_trouble_after_a_recovery(
    written: Callable[[Segments, Any], Any],
) -> None:
    settings = replace(TWO, max_values_per_dimension=9)
    segments = Segments(settings, Values(settings))
    channels(segments, "a")
    block = segments.dump("0")
    segments.changes()
    later = NOON + 30 * DAY
    list(segments.expire(later))
    channels(segments, "b", "a", at=later)
    change = written(segments, segments.changes()[0])
    recovered = Segments(settings, Values(settings))
    recovered.load("0", block)
    recovered.apply(change, later, lambda _: True)
    list(recovered.expire(later))
    assert channels(recovered, "a", "b", "c", at=later) == ["a", "b", "c"]


@pytest.mark.parametrize("is_taken", [True, False], ids=["by another", "by nobody"])
def test_a_segment_that_comes_back_in_another_row_is_found_after_a_recovery(
    is_taken: bool,
) -> None:
    settings = replace(TWO, max_values_per_dimension=9, max_segments=2)
    segments = Segments(settings, Values(settings))
    channels(segments, "a", "b")
    block = segments.dump("0")
    segments.changes()
    later = NOON + 30 * DAY
    list(segments.expire(later))
    channels(segments, "a", at=later)
    changes = segments.changes()
    if is_taken:
        channels(segments, "c", "a", at=later)
        changes += segments.changes()
    assert segments.rows[1] == ("a", None)
    recovered = Segments(settings, Values(settings))
    recovered.load("0", block)
    for change in changes:
        recovered.apply(change, later, lambda _: True)
    list(recovered.expire(later))
    recovered.recovered(later)
    assert recovered.row(labels(channel="a"), None, later) == 1
    assert recovered.rows == segments.rows


def test_a_change_names_a_segment_once() -> None:
    core = replace(TWO, max_values_per_dimension=3)
    segments = Segments(core, Values(core))
    channels(segments, "a", "b")
    assert segments.changes()[0][-1] == [("a", None), ("b", None)]
    channels(segments, "b", "c", at=NOON + MINUTE)
    rows, seen, named, names = segments.changes()[0]
    assert (unpacked_steps(rows).tolist(), unpacked_steps(named).tolist()) == ([1, 2], [2])
    assert (unpacked_steps(seen).tolist(), names) == ([NOON + MINUTE] * 2, [("c", None)])
    recovered = Segments(core, Values(core))
    recovered.load("0", segments.dump("0"))
    channels(recovered, "a", at=NOON + MINUTE)
    assert recovered.changes()[0][-1] == [], "the log holds what was read from it"


def test_a_known_value_in_a_new_combination_leaves_the_others_where_all_places_are_taken() -> None:
    core = replace(Settings(), dimensions=("channel", "region"), max_values_per_dimension=2)
    segments = Segments(core, Values(core))
    known = [labels(channel=c, region=r) for c, r in (("a", "x"), ("b", "y"))]
    rows = [segments.row(each, None, NOON) for each in known]
    combined = labels(channel="a", region="y")
    assert segments.known_rows(LabelColumn.of([*known, combined]), {}, NOON).tolist() == [*rows, -1]
    unheard_of = labels(channel="c", region="y")
    assert segments.known_rows(LabelColumn.of([*known, unheard_of]), {}, NOON).tolist() == [-1] * 3


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in their turn"])
def test_the_place_that_becomes_free_is_the_same_however_rows_are_found(at_once: bool) -> None:
    core = replace(Settings(), dimensions=("channel",), max_values_per_dimension=2, max_segments=1)
    values = Values(core)
    segments = Segments(core, values)
    # One has a place but no row of its own, so only the first looks used.
    for batch in (
        [("one", NOON)],
        [("two", NOON + MINUTE)],
        [("one", NOON + 6 * DAY), ("three", NOON + 6 * DAY + 1)],
        [("four", NOON + 6 * DAY + 2)],
        [("one", NOON + 7 * DAY), ("five", NOON + 7 * DAY + 1), ("three", NOON + 7 * DAY + 2)],
    ):
        found = [labels(channel=name) for name, _ in batch]
        times = np.array([at for _, at in batch])
        rows = np.full(len(batch), -1)
        if at_once:
            rows = segments.known_rows(LabelColumn.of(found), {}, int(times[-1]))
        for place in np.flatnonzero(rows < 0).tolist():
            rows[place] = segments.row(found[place], None, int(times[place]))
        segments.saw(rows, times)
    at = NOON + 7 * DAY + 3
    folded = [values.fold((name,), at)[0] for name in ("one", "three", "five")]
    assert folded == ["one", "three", OTHER]
