"""A window that is added to a state shows what happens from its beginning on as if it had always
been there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.series import Sample
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings, Window
from stream.core.shape import sources
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import new_shard, samples, settings_of
from tests.core.test_changed_settings import (
    FORMER,
    FUZZ,
    LATER,
    WEEK,
    Log,
    read,
    reread,
    some,
    store,
    write,
)
from tests.reference.comparing import Key, Numbers, Value, by_key, differing
from tests.reference.config import DEFAULTS
from tests.reference.reading import Reading
from tests.reference.rows import Row, rows
from tests.reference.streams import NOON, streams, text


def told(found: Sequence[Row] | Sequence[Value], *, active: bool) -> dict[Key, Numbers]:
    """What is counted in each series; who is active is left out where it may be known less exactly.

    Then of those who were active only the lost ones are told, and the cancellations.
    """
    numbers = by_key(found)
    for key in list(numbers):
        *_, top, bottom = numbers[key]
        if key[0] == "art_quantile" or (key[0] == "clv" and not active):
            del numbers[key]
        elif key[0] in ("churn", "retention") and not active:
            n = (bottom or 0) - (top or 0) if key[0] == "retention" else top
            numbers[key] = (n, None, None, None, None)
            if not n:
                del numbers[key]
    return numbers


def compare(
    former: tuple[Window, ...],
    later: tuple[Window, ...],
    first: list[bytes],
    second: list[bytes],
    step: int,
) -> None:
    """Windows show from when they begin what the reference says of all events."""
    config = {**DEFAULTS, "windows": {w.label: (w.size_ms, w.pane_ms) for w in later}}
    after = settings_of(config)
    durable: Log = {}
    shard = new_shard(Settings(windows=former))
    write(shard, StateLog(shard), durable, first, step)
    if not durable:
        return
    shard, log = reread(durable, after)
    is_new = {label for label, source in sources(former, later, {}).items() if source is None}
    begin = shard.tally.next_start(shard.progress.now + 1)
    begins = dict.fromkeys(is_new, begin)
    write(shard, log, durable, second, step)
    at = shard.progress.now
    expected = rows(Reading(config).read([*first, *second]), at, begins)
    active = not is_new
    wanted = told(expected, active=active)
    for one in (shard, read(durable, after)[0]):
        assert not differing(told(samples(after, [one], at), active=active), wanted)


@FUZZ
@given(some(FORMER), some(LATER), streams(), streams(), st.integers(1, 8))
def test_windows_are_the_references_from_when_they_begin(
    former: tuple[Window, ...],
    later: tuple[Window, ...],
    first: list[bytes],
    second: list[bytes],
    step: int,
) -> None:
    compare(former, later, first, [r.replace(b'"e', b'"f') for r in second], step)


MONTH = Window("30d", 30 * DAY, 6 * HOUR)


def subscription(kind: str, number: int, at: int, **more: Any) -> bytes:
    ids = {"event_id": f"{kind}{number}{at}", "subscription_id": f"s{number}"}
    event = {"type": f"subscription.{kind}", **ids, "occurred_at": text(at), **more}
    return json.dumps(event).encode()


#: (kind, number, ms since the one before, how long ago the start was said to be)
turns = st.tuples(
    st.sampled_from(["started", "cancelled"]),
    st.integers(0, 2),
    st.sampled_from([0, 1, SECOND, MINUTE, 20 * MINUTE, HOUR, 5 * HOUR, -SECOND, -HOUR]),
    st.sampled_from([None, 1, MINUTE, HOUR, 12 * HOUR]),
)


@FUZZ
@given(some(LATER), st.lists(turns, min_size=1), st.lists(turns), st.sampled_from([1, 4, 99]))
def test_who_leaves_after_a_window_begins_counts_in_it_as_the_reference_says(
    later: tuple[Window, ...],
    first: list[tuple[str, int, int, int | None]],
    second: list[tuple[str, int, int, int | None]],
    step: int,
) -> None:
    records, at = [], NOON
    for kind, number, later_by, ago in [*first, *second]:
        at += later_by
        said = {"started_at": text(at - ago)} if ago and kind == "cancelled" else {}
        records.append(subscription(kind, number, at, **said))
    cut = len(first)
    compare((WEEK,), later, records[:cut], records[cut:], step)


class Life:
    """A worker that had 100 active subscriptions and more when it got a further window at noon."""

    def __init__(self, columns: bool, first: Sequence[bytes]) -> None:
        self._durable: Log = {}
        self._columns = columns
        self.start(WEEK)
        begin = NOON - 40 * DAY
        base = {"event_id": "base", "type": "subscription.base", "active": 100}
        self.take([json.dumps({**base, "occurred_at": text(begin)}).encode()], begin)
        self.take([*first, subscription("renewed", 99, NOON)], NOON)
        self.start(WEEK, MONTH)
        assert self.shard.windows.starts.keys() == {"30d"}
        self.take([], NOON + 1)

    def start(self, *windows: Window) -> None:
        settings = Settings(dimensions=(), rollups=((),), windows=windows)
        self.shard = Shard(settings, Values(settings), columns=self._columns)
        self._log = StateLog(self.shard)
        self._log.recover(self._durable)

    def take(self, records: Sequence[bytes], at: int) -> None:
        assert not self.shard.ingest("cx.subscription", records, at)
        self.shard.advance(at)
        store(self._durable, self._log, at)

    def take_in_turns(self, records: Sequence[bytes], at: int) -> None:
        """Take in one and then the others, whose labels are known then, which columns ask for."""
        self.take(records[:1], at)
        self.take(records[1:], at)

    def _samples(self, kpi: str, at: int) -> list[Sample]:
        return [s for s in samples(self.shard.settings, [self.shard], at) if s.kpi == kpi]

    def numerators(self, kpi: str, at: int) -> dict[str, float]:
        return {s.window: s.numerator or 0 for s in self._samples(kpi, at)}

    def active(self, at: int) -> dict[str, float]:
        return {s.window: s.denominator or 0 for s in self._samples("retention", at)}


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(
    ("started", "lost_of_week", "lost_of_month"),
    [
        pytest.param(NOON - 3 * DAY, 0, 0, id="began in both windows"),
        pytest.param(NOON - 10 * DAY, 50, 0, id="began in the new window only"),
        pytest.param(NOON - 35 * DAY, 50, 50, id="began before both"),
        pytest.param(NOON + MINUTE, 0, 0, id="began after the window was added"),
    ],
)
def test_who_began_in_an_added_window_and_leaves_is_none_of_those_active_at_its_start(
    started: int, lost_of_week: int, lost_of_month: int, columns: bool
) -> None:
    starts = [subscription("started", n, started + n) for n in range(50)]
    first, second = (starts, []) if started < NOON else ([], starts)
    life = Life(columns, first)
    life.take(second, NOON + 2 * MINUTE)
    end = NOON + HOUR
    life.take_in_turns([subscription("cancelled", n, end + n) for n in range(50)], end + SECOND)
    for _ in range(2):
        found = life.numerators("retention", end + MINUTE)
        active = life.active(end + MINUTE)
        assert {window: active[window] - n for window, n in found.items()} == {
            "7d": lost_of_week,
            "30d": lost_of_month,
        }
        assert life.numerators("churn", end + MINUTE) == {"7d": 50, "30d": 50}
        life.start(WEEK, MONTH)


@pytest.mark.parametrize("columns", [True, False])
def test_of_those_who_began_in_an_added_window_none_counts_that_was_cancelled_before_it_was_added(
    columns: bool,
) -> None:
    life = Life(columns, [subscription("started", n, NOON - DAY + n) for n in range(9)])
    (begin,) = life.shard.windows.starts.values()
    assert NOON < begin <= NOON + 5 * SECOND
    late = [subscription("cancelled", n, begin - 5 + n) for n in range(9)]
    life.take_in_turns(late, begin + SECOND)
    assert life.numerators("churn", begin + SECOND) == {"7d": 9, "30d": 4}
    assert life.numerators("retention", begin + SECOND) == life.active(begin + SECOND)
