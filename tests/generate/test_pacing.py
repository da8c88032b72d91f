"""Sending by the clock, with a clock that the test moves."""

from __future__ import annotations

from stream.generate.draws import Record
from stream.generate.pacing import SLICE, as_they_happen
from tests.fixtures.clock import FakeClock


def record(at: int) -> Record:
    return at, "cx.visit", b"", b""


async def test_records_of_the_past_come_at_once_and_later_ones_when_their_time_has_come() -> None:
    clock = FakeClock(100.0)
    times = [*range(0, 100_001, 10), 100_050, 100_060, 101_000, 130_000]
    received: list[tuple[int, int]] = []
    async for some in as_they_happen(map(record, times), clock.ms, clock.sleep):
        received += [(at, clock.ms()) for at, *_ in some]
    assert [at for at, _ in received] == times
    assert all(now == 100_000 for at, now in received if at <= 100_000)
    assert all(at <= now <= at + 100 for at, now in received if at > 100_000)


async def test_what_happens_within_a_tenth_of_a_second_comes_together() -> None:
    clock = FakeClock(100.0)
    sizes = [
        len(some)
        async for some in as_they_happen(
            map(record, range(100_000, 101_000)), clock.ms, clock.sleep
        )
    ]
    assert sum(sizes) == 1_000
    assert len(sizes) <= 12


async def test_slices_are_bounded() -> None:
    clock = FakeClock(100.0)
    sizes = [
        len(some)
        async for some in as_they_happen(map(record, [0] * (3 * SLICE + 5)), clock.ms, clock.sleep)
    ]
    assert sizes == [SLICE, SLICE, SLICE, 5]
