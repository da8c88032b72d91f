"""When a flush is due, and what goes with it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.rounds import REFRESH_SECONDS, TELL_SECONDS, Rounds


class At:
    """A clock that stands where the test says."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@given(st.floats(0, 2e9), st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]))
def test_flushes_are_due_a_while_after_a_whole_second_by_all_clocks(
    now: float, every: float
) -> None:
    wait = Rounds(every, wall=At(now)).until_next()
    assert 0 < wait <= every + 1e-6
    after = (now + wait - 0.3) % every
    assert min(after, every - after) == pytest.approx(0, abs=1e-5)


async def test_a_flush_that_is_hurried_comes_at_once_and_only_once() -> None:
    rounds = Rounds(600.0, wall=At())
    rounds.hurry()
    await asyncio.wait_for(rounds.next(), 60)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rounds.next(), 0.01)


def test_the_families_are_told_with_one_flush_of_each_second() -> None:
    wall = At()
    rounds = Rounds(0.25, wall=wall)
    told = []
    for quarter in range(12):
        wall.now = 1_000.31 + quarter / 4
        told.append(rounds.take_share())
    assert told == [True, False, False, False] * 3


def test_the_group_is_told_positions_now_and_then_and_of_a_new_shard_at_once() -> None:
    clock = At()
    rounds = Rounds(1.0, monotonic=clock)
    assert rounds.take_telling({0})
    assert not rounds.take_telling({0})
    assert rounds.take_telling({0, 1})
    assert not rounds.take_telling({1})
    clock.now += TELL_SECONDS + 1
    assert rounds.take_telling({1})


def test_a_refresh_is_due_once_until_it_has_ended() -> None:
    clock = At()
    rounds = Rounds(1.0, monotonic=clock)
    assert not rounds.take_refresh()
    clock.now += REFRESH_SECONDS + 1
    assert rounds.take_refresh()
    clock.now += 10 * REFRESH_SECONDS
    assert not rounds.take_refresh()
    rounds.refresh_later()
    assert not rounds.take_refresh()
    clock.now += REFRESH_SECONDS + 1
    assert rounds.take_refresh()
