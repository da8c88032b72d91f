"""Remembered event ids: the same after any number of flushes, blocks and expiries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from stream.core.dedupe import SeenIds
from stream.core.settings import MINUTE

DEDUPE = 3 * MINUTE

#: How far event time moves on before an id arrives, which id, and whether a flush follows.
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 2 * MINUTE), st.integers(0, 8), st.booleans()), max_size=60
)


def key(number: int) -> bytes:
    return xxhash.xxh3_64_digest(b"%d" % number)


def packed(data: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


def newer_than(written: dict[str, int], number: int) -> Callable[[str], bool]:
    return lambda block: number > written.get(block, 0)


class Log:
    """Keeps what a store writes, some blocks at once and all changes, as a state log does."""

    def __init__(self) -> None:
        self.blocks: dict[str, tuple[int, Any]] = {}
        self.deltas: list[Any] = []

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
        for number, change in enumerate(self.deltas, 1):
            if change is not None:
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
        assert seen.has(key(number), clock) == duplicate
        if not duplicate:
            accepted[number] = clock
            seen.add(key(number), clock)
        if flushes:
            log.flush(seen, clock)
    log.flush(seen, clock)
    again = log.recovered(clock)
    for number, at in accepted.items():
        assert again.has(key(number), clock) == (clock - at <= DEDUPE)


@given(ARRIVALS)
def test_ids_are_forgotten_once_no_repeat_can_be_a_duplicate(
    arrivals: list[tuple[int, int, bool]],
) -> None:
    clock, seen = 0, SeenIds("cx.visit", DEDUPE)
    for step, number, _ in arrivals:
        clock += step
        if not seen.has(key(number), clock):
            seen.add(key(number), clock)
    seen.changes()
    list(seen.expire(clock + DEDUPE + 2 * MINUTE))
    assert len(seen) == 0
