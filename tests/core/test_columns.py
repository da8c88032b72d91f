"""Columns are a quicker way to the very same state as one record after another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.core import batch as batches
from stream.core import intake
from stream.core.cells import COUNTER_BITS, COUNTER_MASK, Cells
from stream.core.dedupe import SeenIds
from stream.core.memory import Memory
from stream.core.progress import Progress
from stream.core.segments import Segments
from stream.core.settings import DAY, HOUR, MINUTE, Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.tally import WindowStore
from stream.core.values import Values
from stream.generate import company
from stream.generate.noise import Noise, noisy
from tests.core.running import settings_of
from tests.reference.config import Config
from tests.reference.events import TOPICS
from tests.reference.streams import NOON, configs, streams

MANY = settings(
    max_examples=int(os.environ.get("FUZZ_STREAMS", "150")),
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
#: Of segments, so that few, some or all have a row of their own.
BUDGETS = st.sampled_from([10_000, 3, 1])
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let columns handle repeated entities in any number, and be read a few at a time."""
    monkeypatch.setattr(intake, "_FEW", 3)
    monkeypatch.setattr(batches, "PIECE", 7)


def contents(shard: Shard) -> dict[str, Any]:
    """All that a shard knows, whatever it is kept in."""
    found: dict[str, Any] = {}
    for store in shard.stores():
        if isinstance(store, Memory):
            found[store.name] = dict(store.items())
        elif isinstance(store, SeenIds):
            found[store.name] = sorted(ids_of(store))
        elif isinstance(store, WindowStore):
            found[store.name] = {
                label: dict(counted(shard, cells)) for label, cells in store.cells.items()
            }
        elif isinstance(store, Segments):
            found[store.name] = list(store.sightings())
        elif isinstance(store, Progress):
            found[store.name] = store.dump("all")
    found["active"] = {
        key: (part.segment, {u: n for u, n in part.net.items() if n}, sorted(part.bases.values()))
        for key, part in shard.active.sets.items()
    }
    return found


def counted(shard: Shard, cells: Cells) -> Iterator[tuple[Any, int]]:
    """What is counted in a window, by pane, segment and counter: rows are numbers of a shard."""
    for pane in cells.slots():
        for low, value in zip(*(part.tolist() for part in cells.slot(pane)), strict=True):
            segment = shard.segments.rows[low >> COUNTER_BITS]
            yield (pane, segment, low & COUNTER_MASK), value


def ids_of(seen: SeenIds) -> Iterator[tuple[int, int]]:
    seen.touched()
    for minute in list(seen.minutes):
        clocks, keys = (np.frombuffer(part, np.int64) for part in seen.dump(str(minute)))
        yield from zip(keys.tolist(), clocks.tolist(), strict=True)


class Pair:
    """A shard that works in columns, one that does not, and their logs."""

    def __init__(self, core: Settings, *, event_time: bool) -> None:
        self.core = core
        self.event_time = event_time
        self.logs: list[dict[bytes, bytes]] = [{}, {}]
        self._seeds = count(1)
        self._start()

    def _start(self) -> None:
        # The same of both, and another than that of the state.
        made, seed = {"event_time": self.event_time}, next(self._seeds)
        self.shards = [
            Shard(self.core, Values(self.core), **made, columns=columns, seed=seed)
            for columns in (True, False)
        ]
        self.writers = [StateLog(shard) for shard in self.shards]

    def ingest(self, topic: str | None, batch: Sequence[bytes], now: int) -> None:
        columns, rows = (shard.ingest(topic, batch, now) for shard in self.shards)
        assert columns == rows

    def flush(self, at: int) -> None:
        for shard, writer, log in zip(self.shards, self.writers, self.logs, strict=True):
            shard.advance(at)
            for key, value in writer.flush(at):
                log.pop(key, None)
                if value is not None:
                    log[key] = value

    def start_over(self) -> None:
        for shard in self.shards:
            shard.close()
        self._start()
        for writer, log in zip(self.writers, self.logs, strict=True):
            writer.recover(log)

    def check(self) -> None:
        for shard in self.shards:
            shard.fold(shard.progress.now)
        columns, rows = map(contents, self.shards)
        assert columns == rows


@MANY
@given(
    configs,
    st.sampled_from(["ab", "abcdef", LETTERS]).flatmap(lambda ids: streams(most=60, ids=ids)),
    st.data(),
)
def test_columns_and_rows_say_the_same_of_any_stream(
    config: Config, records: list[bytes], data: st.DataObject
) -> None:
    core = replace(settings_of(config), max_segments=data.draw(BUDGETS))
    pair = Pair(core, event_time=True)
    while records:
        size = data.draw(st.integers(1, 40))
        batch, records = records[:size], records[size:]
        pair.ingest(None, batch, 0)
        pair.check()
        what = data.draw(st.sampled_from(["go on", "flush", "start over"]))
        if what != "go on" and pair.shards[0].progress.first is not None:
            pair.flush(pair.shards[0].progress.now)
            if what == "start over":
                pair.start_over()
            pair.check()


@MANY
@given(
    configs,
    st.sampled_from(list(TOPICS)).flatmap(lambda topic: streams((topic,), most=60, ids=LETTERS)),
    st.data(),
)
def test_columns_and_rows_say_the_same_of_a_topic_with_the_clock_running(
    config: Config, records: list[bytes], data: st.DataObject
) -> None:
    core = replace(settings_of(config), max_segments=data.draw(BUDGETS))
    pair = Pair(core, event_time=False)
    now = NOON
    while records:
        size = data.draw(st.integers(1, 40))
        batch, records = records[:size], records[size:]
        pair.ingest(None, batch, now)
        now += data.draw(st.sampled_from([0, MINUTE, DAY, 8 * DAY]))
        pair.flush(now)
        pair.check()


@pytest.mark.parametrize("seed", range(3))
def test_columns_and_rows_say_the_same_of_a_company(seed: int) -> None:
    noise = Noise(duplicates=0.02, garbage=0.01, late=0.01, orphans=0.01, seed=seed)
    events = noisy(company.events(NOON, None, 5.0, seed), noise)
    records = [(record[1], record[3]) for record in islice(events, 6000)]
    rng = np.random.default_rng(seed)
    replay = Pair(Settings(), event_time=True)
    live = Pair(Settings(), event_time=False)
    while records:
        size = int(rng.integers(1, 1500))
        batch, records = records[:size], records[size:]
        replay.ingest(None, [value for _, value in batch], 0)
        now = replay.shards[0].progress.now
        for topic in sorted({topic for topic, _ in batch}):
            live.ingest(topic, [value for name, value in batch if name == topic], now)
        for pair in (replay, live):
            pair.flush(now)
            pair.check()
    for pair in (replay, live):
        pair.start_over()
        pair.check()


@pytest.mark.parametrize("event_time", [True, False])
@pytest.mark.parametrize("until", [None, NOON + 5 * MINUTE])
def test_records_read_in_pieces_of_any_size_say_the_same(
    event_time: bool, until: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = Noise(duplicates=0.02, garbage=0.05, late=0.01, orphans=0.02, seed=1)
    events = islice(noisy(company.events(NOON, None, 5.0, 1), noise), 3000)
    records = [value for _, _, _, value in events]
    said = []
    for piece in (10_000, 1, 64):
        monkeypatch.setattr(batches, "PIECE", piece)
        core = Settings()
        shard = Shard(core, Values(core), event_time=event_time, until=until)
        refusals = shard.ingest(None, records, NOON + HOUR)
        shard.fold(shard.progress.now)
        said.append((refusals, contents(shard)))
    assert said[0][0]
    assert said[1] == said[0]
    assert said[2] == said[0]
