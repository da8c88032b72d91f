"""Remembered event ids: the same after any number of flushes, blocks and expiries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.dedupe import SeenIds
from stream.core.integers import Ints
from stream.core.settings import MINUTE
from stream.core.table import Digests

DEDUPE = 3 * MINUTE

#: How far event time moves on before an id arrives, which id, and whether a flush follows.
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 2 * MINUTE), st.integers(0, 8), st.booleans()), max_size=60
)


def key(number: int) -> Ints:
    return np.array([Digests().of(str(number))], dtype=np.int64)


def has(seen: SeenIds, number: int, clock: int) -> bool:
    return seen.is_repeat(int(seen.arrivals(key(number))[0]), clock)


def add(seen: SeenIds, number: int, clock: int) -> None:
    seen.add(key(number), np.array([clock], dtype=np.int64))


def packed(data: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


def newer_than(written: dict[str, int], number: int) -> Callable[[str], bool]:
    return lambda block: number > written.get(block, 0)


class Log:
    """Keeps what a store writes, some blocks at once and all changes, as a state log does."""

    def __init__(self) -> None:
        self.blocks: dict[str, tuple[int, Any]] = {}
        self.deltas: list[list[Any]] = []

    def flush(self, seen: SeenIds, clock: int) -> None:
        for block in list(seen.expire(clock)):
            self.blocks.pop(block, None)
        self.deltas.append(packed(seen.changes()))
        for block in sorted(seen.touched())[::2]:
            self.blocks[block] = len(self.deltas), packed(seen.dump(block))

    def recovered(self, clock: int) -> SeenIds:
        seen = SeenIds("cx.visit", DEDUPE)
        for block, (_, dumped) in self.blocks.items():
            seen.load(block, dumped)
        written = {block: at for block, (at, _) in self.blocks.items()}
        for number, changes in enumerate(self.deltas, 1):
            for change in changes:
                seen.apply(change, clock, newer_than(written, number))
        list(seen.expire(clock))
        return seen


@given(ARRIVALS)
def test_an_id_is_known_for_as_long_as_configured_and_also_after_a_recovery(
    arrivals: list[tuple[int, int, bool]],
) -> None:
    clock, log = 0, Log()
    seen = SeenIds("cx.visit", DEDUPE)
    accepted: dict[int, int] = {}
    for step, number, flushes in arrivals:
        clock += step
        duplicate = number in accepted and clock - accepted[number] <= DEDUPE
        assert has(seen, number, clock) == duplicate
        if not duplicate:
            accepted[number] = clock
            add(seen, number, clock)
        if flushes:
            log.flush(seen, clock)
    log.flush(seen, clock)
    again = log.recovered(clock)
    for number, at in accepted.items():
        assert has(again, number, clock) == (clock - at <= DEDUPE)


@given(ARRIVALS)
def test_ids_are_forgotten_once_no_repeat_can_be_a_duplicate(
    arrivals: list[tuple[int, int, bool]],
) -> None:
    clock, seen = 0, SeenIds("cx.visit", DEDUPE)
    for step, number, _ in arrivals:
        clock += step
        if not has(seen, number, clock):
            add(seen, number, clock)
    seen.changes()
    list(seen.expire(clock + DEDUPE + 2 * MINUTE))
    assert len(seen) == 0


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), max_size=12))
def test_ids_that_come_many_at_a_time_are_known_as_if_they_had_come_one_by_one(
    batches: list[list[int]],
) -> None:
    together, alone = SeenIds("cx.visit", DEDUPE), SeenIds("cx.visit", DEDUPE)
    for clock, batch in enumerate(batches):
        keys = np.concatenate([key(number) for number in batch])
        together.add(keys, np.full(len(batch), clock, dtype=np.int64))
        for number in batch:
            add(alone, number, clock)
    keys = np.concatenate([key(number) for number in range(31)])
    assert together.arrivals(keys).tolist() == alone.arrivals(keys).tolist()
    assert len(together) == len(alone) == len({n for batch in batches for n in batch})


@given(st.lists(st.tuples(st.integers(0, 2 * MINUTE), st.integers(0, 8)), min_size=1, max_size=40))
def test_ids_of_a_long_time_that_come_together_are_repeats_as_if_they_had_come_one_by_one(
    arrivals: list[tuple[int, int]],
) -> None:
    together, alone = SeenIds("cx.visit", DEDUPE), SeenIds("cx.visit", DEDUPE)
    clocks = np.cumsum([step for step, _ in arrivals])
    for (_, number), clock in zip(arrivals, clocks.tolist(), strict=True):
        add(alone, number, clock)
    together.add(np.concatenate([key(number) for _, number in arrivals]), clocks)
    end = int(clocks[-1])
    assert [has(together, n, end) for n in range(9)] == [has(alone, n, end) for n in range(9)]
    for seen in (together, alone):
        list(seen.expire(end))
    assert len(together) == len(alone)


def test_ids_that_are_forgotten_before_the_last_of_a_batch_are_never_written() -> None:
    seen = SeenIds("cx.visit", DEDUPE)
    clocks = np.arange(0, 100 * MINUTE, MINUTE)
    seen.add(np.concatenate([key(number) for number in range(100)]), clocks)
    assert len(seen) == 4
    assert seen.touched() == {"96", "97", "98", "99"}
    assert np.frombuffer(seen.changes()[0][0], dtype=np.int64).tolist() == clocks[-4:].tolist()
    assert list(seen.expire(99 * MINUTE)) == []


def test_what_is_forgotten_makes_room() -> None:
    seen = SeenIds("cx.visit", DEDUPE)
    sizes = []
    for minute in range(60):
        numbers = range(minute * 1000, minute * 1000 + 1000)
        keys = np.concatenate([key(number) for number in numbers])
        seen.add(keys, np.full(1000, minute * MINUTE, dtype=np.int64))
        seen.changes()
        list(seen.expire(minute * MINUTE))
        sizes.append(seen.nbytes)
    assert max(sizes[10:]) <= max(sizes[:10])
    assert len(seen) == 4000
