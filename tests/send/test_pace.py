"""Sending at a rate, with a clock that the test moves."""

from __future__ import annotations

import pytest

from stream.cli.pace import Pace
from tests.fixtures.clock import FakeClock


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
