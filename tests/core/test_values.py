"""Values of dimensions in several processes, of which a registry decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream.core.labels import LabelColumn, Labels
from stream.core.segments import Segments
from stream.core.settings import DAY, MINUTE, Settings
from stream.core.values import OTHER, REFRESH_MS, Places, Values
from tests.core.test_segments import channels, labels
from tests.reference.streams import NOON

TWO = Settings(dimensions=("channel",), rollups=((), ("channel",)), max_values_per_dimension=2)


def registered(core: Settings, places: Places) -> tuple[Values, Segments]:
    values = Values(core, shared=True)
    values.decide(places, [])
    return values, Segments(core, values)


def asked(values: Values, places: Places) -> Places:
    """What the registry holds after a process has asked it."""
    after = values.propose(places)
    values.decide(after, values.asked())
    return after


def test_own_proposals_take_no_room_from_a_value_that_the_registry_keeps() -> None:
    values, segments = registered(TWO, [{}])
    names = channels(segments, "a", "b", "c")
    assert names == ["a", "b", "c"], "nothing is decided yet"
    asked(values, [{"c": NOON, "d": NOON}])
    segments.settle()
    assert [row[0] for row in segments.rows if row] == [OTHER, OTHER, "c"]


@pytest.mark.parametrize("recovered", [False, True])
def test_rows_of_values_that_were_turned_down_are_bounded(recovered: bool) -> None:
    core = replace(TWO, max_segments=4)
    values, segments = registered(core, [{"a": NOON, "b": NOON}])
    if recovered:
        larger = registered(replace(core, max_segments=10), [{"a": NOON, "b": NOON}])[1]
        for row in range(10):
            larger._rename(larger._allot(), ("ab"[row % 2], None))
        larger.saw(np.arange(10), np.full(10, NOON))
        segments.load("0", larger.dump("0"))
        segments.recovered(NOON)
    for name in "cdefghijklmnop":
        # Others are first to fill a registry that was empty.
        values.decide([{}], [])
        channels(segments, name)
        values.decide([{"a": NOON, "b": NOON}], values.asked())
        segments.settle()
    # What comes beyond counts as other, which has a row whatever the limit.
    most = 10 + (4 - 2) if recovered else 2 * 4
    assert most <= len(segments.rows) <= most + 1


def test_proposals_are_bounded() -> None:
    core = replace(TWO, max_segments=16)
    values, segments = registered(core, [{}])
    assert channels(segments, *"abcdef") == ["a", "b", "c", "d", OTHER, OTHER]
    assert len(values.undecided[0]) == 4


@pytest.mark.parametrize("many", [False, True])
def test_a_value_is_asked_for_again_after_long_silence(many: bool) -> None:
    """Its place may be another's by now, and this process was not told."""
    values, segments = registered(TWO, [{}])
    assert channels(segments, "a", "b") == ["a", "b"]
    places = asked(values, [{}])
    later = NOON + 7 * DAY + REFRESH_MS + MINUTE
    elsewhere, others = registered(TWO, places)
    channels(others, "b", "c", "d", at=later)
    places = asked(elsewhere, places)
    assert list(places[0]) == ["b", "c"]
    found: list[Labels] = [labels(channel="a")]
    if many:
        assert segments.known_rows(LabelColumn.of(found), {}, later).tolist() == [-1]
    row = segments.row(found[0], None, later)
    assert values.is_undecided
    asked(values, places)
    segments.settle()
    assert segments.rows[row] == (OTHER, None)


def test_what_the_registry_has_lost_is_proposed_again_before_what_came_later() -> None:
    values, segments = registered(TWO, [{}])
    channels(segments, "a", "b")
    asked(values, [{}])
    names = channels(segments, "b", "a", at=NOON + DAY)
    # Another process was the first to ask a registry that has lost everything but the beginning.
    cut_back: Places = [{"a": NOON}]
    assert values.claim_lost(cut_back) == 1
    assert asked(values, cut_back) == [{"a": NOON + DAY, "b": NOON + DAY}]
    assert (values.claim_lost([{}]), list(values.undecided[0])) == (2, ["a", "b"])
    segments.settle()
    assert [row[0] for row in segments.rows if row] == ["a", "b"]
    assert names == ["b", "a"]


@pytest.mark.parametrize(("later", "claimed"), [(0, 1), (-1, 1), (1, 0), (REFRESH_MS, 0)])
def test_what_somebody_may_have_freed_is_not_taken_for_lost(later: int, claimed: int) -> None:
    values, segments = registered(TWO, [{}])
    channels(segments, "a")
    asked(values, [{}])
    latest = NOON + TWO.memory_ms - 1 + later
    assert values.claim_lost([{"b": latest}]) == claimed


@pytest.mark.parametrize(("later", "proposed"), [(-1, ["a"]), (0, []), (DAY, [])])
def test_a_recovered_value_without_a_place_is_proposed_where_nobody_can_have_freed_it(
    later: int, proposed: list[str]
) -> None:
    values, _ = registered(TWO, [{"b": NOON + TWO.memory_ms + later}])
    values.keep(("a", None), NOON)
    assert list(values.undecided[0]) == proposed
