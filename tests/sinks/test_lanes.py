"""Lanes: order within, none across, bounded."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from stream.sinks.lanes import Lanes


async def test_a_lane_keeps_its_order_and_holds_up_no_other() -> None:
    done: list[tuple[bytes, int]] = []
    gate = asyncio.Event()

    async def job(key: bytes, number: int) -> None:
        if key == b"slow":
            await gate.wait()
        await asyncio.sleep(0)
        done.append((key, number))

    async with Lanes(100) as lanes:
        for number in range(3):
            for key in (b"slow", b"a", b"b"):
                await lanes.put(key, partial(job, key, number))
        while len(done) < 6:  # noqa: ASYNC110 - it is a list.
            await asyncio.sleep(0)
        assert {key for key, _ in done} == {b"a", b"b"}
        # One whose jobs are all done takes further ones.
        await lanes.put(b"a", partial(job, b"a", 3))
        gate.set()
    assert [n for k, n in done if k == b"a"] == [0, 1, 2, 3]
    for key in (b"slow", b"b"):
        assert [n for k, n in done if k == key] == [0, 1, 2]


async def test_no_more_jobs_than_there_is_room_for() -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with Lanes(2) as lanes:
        await lanes.put(b"a", wait)
        await lanes.put(b"a", wait)
        third = asyncio.ensure_future(lanes.put(b"b", wait))
        await asyncio.sleep(0.01)
        assert not third.done()
        gate.set()
        await asyncio.wait_for(third, 60)


async def test_what_a_job_raises_ends_the_others() -> None:
    async def fail() -> None:
        raise ValueError("acknowledging failed")

    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> None:
        async with Lanes(9) as lanes:
            await lanes.put(b"a", hang)
            await asyncio.sleep(0)
            await lanes.put(b"b", fail)
            await asyncio.Event().wait()

    with pytest.RaisesGroup(ValueError):
        await asyncio.wait_for(run(), 60)
    assert ended.is_set()
