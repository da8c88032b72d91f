"""A time line says at each time what a replay up to that time would have said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.series import Evaluation, Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings, Window
from stream.replay import timeline
from stream.replay.files import Batch
from stream.replay.run import Replay
from stream.replay.timeline import TimeLine, TooManyPoints
from tests.core.running import settings_of
from tests.reference.config import Config
from tests.reference.streams import NOON, configs, streams, text

Points = list[tuple[int, list[Sample]]]

SETTINGS = Settings(windows=(Window("5m", 5 * MINUTE, 5 * SECOND), Window("1h", HOUR, MINUTE)))


def batch(records: Sequence[bytes]) -> Batch:
    return Batch(["f"] * len(records), range(1, len(records) + 1), list(records))


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """Series by their names: in which order they come depends on when segments were met."""
    return sorted(samples, key=lambda s: (s.kpi, s.window, s.labels))


def line_of(
    core: Settings, every: int, batches: Iterable[Sequence[bytes]], at: int | None = None
) -> Points:
    points: Points = []
    line = TimeLine(core, every, lambda time, samples: points.append((time, in_order(samples))))
    run = Replay(core, at, line=line)
    for records in batches:
        run.feed(batch(records))
    run.finish_line()
    return points


def replay(core: Settings, records: Sequence[bytes], at: int | None = None) -> list[Sample]:
    run = Replay(core, at)
    run.feed(batch(records))
    return in_order(run.samples())


def read_before(core: Settings, records: Sequence[bytes], at: int) -> list[bytes]:
    """The records before the first accepted one that is later than ``at``."""
    run = Replay(core)
    for i, record in enumerate(records):
        run.feed(batch([record]))
        if run.now is not None and run.now > at:
            return list(records[:i])
    return list(records)


def visit(at: int, number: int = 0) -> bytes:
    return (
        f'{{"event_id":"{at}-{number}","type":"visit.ended","occurred_at":"{text(at)}",'
        f'"visit_id":"v","labels":{{"channel":"web"}}}}'
    ).encode()


@settings(max_examples=20, deadline=None)
@given(configs, streams(most=12), st.sampled_from([10 * DAY, 17 * DAY + HOUR]), st.data())
def test_a_point_is_what_a_replay_of_the_records_read_before_says(
    config: Config, records: list[bytes], every: int, data: st.DataObject
) -> None:
    core = settings_of(config)
    points = line_of(core, every, [records])
    assert [at for at, _ in points] == sorted({at for at, _ in points})
    assert all(at % every == 0 for at, _ in points[:-1])
    plain = replay(core, records)
    if not points:
        assert plain == []
        return
    assert points[-1][1] == plain
    for at, samples in data.draw(st.lists(st.sampled_from(points), max_size=4)):
        if at != points[-1][0]:
            assert samples == replay(core, read_before(core, records, at), at)


@settings(max_examples=15, deadline=None)
@given(configs, streams(most=10), st.sampled_from([5 * DAY, 11 * DAY + HOUR]))
def test_a_gap_that_stands_still_is_what_evaluating_all_of_it_says(
    config: Config, records: list[bytes], every: int
) -> None:
    core = settings_of(config)
    whole: Points = []
    line = TimeLine(core, every, lambda time, samples: whole.append((time, in_order(samples))))
    line._settled_after = 1 << 50
    run = Replay(core, NOON + 90 * DAY, line=line)
    run.feed(batch(records))
    run.finish_line()
    assert line_of(core, every, [records], NOON + 90 * DAY) == whole


@settings(max_examples=15, deadline=None)
@given(streams(most=15), st.integers(1, 5))
def test_it_does_not_matter_how_records_are_batched(records: list[bytes], size: int) -> None:
    batches = [records[i : i + size] for i in range(0, len(records), size)]
    assert line_of(SETTINGS, 5 * DAY, batches) == line_of(SETTINGS, 5 * DAY, [records])


@pytest.mark.parametrize(
    ("events", "at", "expected"),
    [
        ([], None, []),
        ([], 5 * HOUR, []),
        ([HOUR], None, [HOUR]),
        ([HOUR + 1], None, [HOUR + 1]),
        ([HOUR, 2 * HOUR], None, [HOUR, 2 * HOUR]),
        ([HOUR - 1, 2 * HOUR + 1], None, [HOUR, 2 * HOUR, 2 * HOUR + 1]),
        ([HOUR - 1], 2 * HOUR, [HOUR, 2 * HOUR]),
        ([HOUR, HOUR + 1, 3 * HOUR], 2 * HOUR + 5, [HOUR, 2 * HOUR, 2 * HOUR + 5]),
        ([3 * HOUR], 2 * HOUR, []),
        ([2 * HOUR + 1, HOUR, 3 * HOUR + 1], None, [3 * HOUR, 3 * HOUR + 1]),
    ],
)
def test_points_are_the_multiples_from_the_first_event_on_and_the_end(
    events: list[int], at: int | None, expected: list[int]
) -> None:
    records = [visit(NOON + time) for time in events]
    points = line_of(SETTINGS, HOUR, [records], None if at is None else NOON + at)
    assert [time - NOON for time, _ in points] == expected


def test_a_gap_of_a_year_is_evaluated_only_while_something_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluated: list[int] = []
    whole = Replay._evaluate

    def evaluate(run: Replay, at: int) -> Evaluation:
        evaluated.append(at)
        return whole(run, at)

    monkeypatch.setattr(Replay, "_evaluate", evaluate)
    records = [visit(NOON), visit(NOON + 365 * DAY)]
    points = line_of(SETTINGS, 5 * MINUTE, [records])
    assert len(points) == 365 * DAY // (5 * MINUTE) + 1
    assert len(evaluated) < 30
    assert [bool(samples) for _, samples in points[10:14]] == [True, True, False, False]
    assert {b - a for (a, _), (b, _) in pairwise(points)} == {5 * MINUTE}


def test_too_many_points_are_refused_before_they_are_made_at_the_record_that_makes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeline, "MOST_POINTS", 100)
    fine = [visit(NOON), visit(NOON + 100 * HOUR)]
    assert len(line_of(SETTINGS, HOUR, [fine])) == 101
    made: Points = []
    line = TimeLine(SETTINGS, HOUR, lambda at, samples: made.append((at, list(samples))))
    run = Replay(SETTINGS, line=line)
    with pytest.raises(TooManyPoints) as caught:
        run.feed(batch([visit(NOON), visit(NOON + HOUR), visit(NOON + 101 * HOUR)]))
    assert str(caught.value) == (
        "f: line 3: the time line has more than 100 points: time goes from"
        " 2026-03-02T13:00:00.000Z to 2026-03-06T17:00:00.000Z here; choose a longer duration"
    )
    assert len(made) == 1


def test_a_run_makes_a_time_line_or_changes_of_alerts() -> None:
    line = TimeLine(SETTINGS, HOUR, lambda at, samples: None)
    with pytest.raises(ValueError, match="not both"):
        Replay(SETTINGS, line=line, alerts=True)
