"""Sending by the clock and at a rate, with a clock that the test moves."""

from __future__ import annotations

import pytest

from stream.generate.draws import Record
from stream.generate.pacing import SLICE, Pace, as_they_happen


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def ms(self) -> int:
        return int(self.now * 1000)

    def seconds(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


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


async def test_slices_are_bounded() -> None:
    clock = FakeClock(100.0)
    sizes = [
        len(some)
        async for some in as_they_happen(map(record, [0] * (3 * SLICE + 5)), clock.ms, clock.sleep)
    ]
    assert sizes == [SLICE, SLICE, SLICE, 5]


@pytest.mark.parametrize("rate", [0.5, 3, 50, 1_000, 100_000])
async def test_a_pace_holds_its_rate(rate: float) -> None:
    clock = FakeClock(5.0)
    pace = Pace(rate, clock.seconds, clock.sleep)
    sent = 0
    while sent < 20 * rate:
        sent += pace.slice
        await pace.sent(pace.slice)
    assert clock.now - 5.0 == pytest.approx(sent / rate)
    assert pace.slice <= max(1, rate / 10)


async def test_a_pace_catches_up_after_a_hold() -> None:
    clock = FakeClock(0.0)
    pace = Pace(10, clock.seconds, clock.sleep)
    await pace.sent(1)
    clock.now += 5
    for _ in range(99):
        await pace.sent(1)
    assert clock.now == pytest.approx(10.0)


async def test_without_a_rate_nothing_waits() -> None:
    clock = FakeClock(0.0)
    pace = Pace(None, clock.seconds, clock.sleep)
    await pace.sent(10**9)
    assert clock.now == 0
