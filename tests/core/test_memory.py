"""What is remembered of entities."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from stream.core.buckets import BUCKET_MS, BUCKET_RECORDS
from stream.core.memory import FOREVER, Memory
from stream.core.table import Digests

KEEP = 6 * BUCKET_MS
digest = Digests().of
A, B = digest("a"), digest("b")


def new_memory(limit: int = 1 << 30) -> Memory:
    return Memory("carts", KEEP, {"row": np.int32}, limit)


def packed(data: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


def logged(memory: Memory) -> tuple[list[Any], dict[str, Any]]:
    changes = packed(memory.changes())
    return changes, {block: packed(memory.dump(block)) for block in memory.touched()}


def test_the_last_put_is_remembered() -> None:
    memory = new_memory()
    memory.put(A, 5, 1)
    memory.put(A, 9, 2)
    assert memory.get(A) == (9, 2, None)
    assert memory.get(B) is None


def test_nothing_is_forgotten_before_its_time_and_all_some_time_after() -> None:
    memory = new_memory()
    memory.put(A, 0, 1)
    list(memory.expire(KEEP))
    assert memory.get(A) == (0, 1, None)
    list(memory.expire(KEEP + 2 * BUCKET_MS))
    assert len(memory) == 0


def test_a_record_that_was_used_again_outlives_its_bucket() -> None:
    memory = new_memory()
    memory.put(A, 0, 1)
    memory.put(A, KEEP, 2)
    assert list(memory.expire(KEEP + 2 * BUCKET_MS))
    assert memory.get(A) == (KEEP, 2, None)


def test_what_is_for_ever_is_never_forgotten_until_it_no_longer_is() -> None:
    memory = new_memory()
    memory.put(A, FOREVER, 1)
    list(memory.expire(10**15))
    assert memory.get(A) == (FOREVER, 1, None)
    memory.put(A, 0, 1)
    list(memory.expire(10**15))
    assert memory.get(A) is None


def test_changes_and_blocks_each_bring_a_record_back() -> None:
    memory = new_memory()
    memory.put(A, 5, 7, extra=(1, (2, 3)))
    memory.put(B, FOREVER, 1)
    changes, blocks = logged(memory)
    by_changes, by_blocks = new_memory(), new_memory()
    for change in changes:
        by_changes.apply(change, 0, lambda block: True)
    for block, dumped in blocks.items():
        by_blocks.load(block, dumped)
    for again in (by_changes, by_blocks):
        assert dict(again.items()) == dict(memory.items())


def test_a_full_bucket_goes_on_in_a_further_part() -> None:
    memory = new_memory()
    for i in range(BUCKET_RECORDS + 1):
        memory.put(i + 1, 0, 1)
    _, blocks = logged(memory)
    assert sorted(len(dumped[0]["row"]) for dumped in blocks.values()) == [4, 4 * BUCKET_RECORDS]


def filled(buckets: int, each: int, limit: int) -> Memory:
    memory = new_memory(limit)
    for bucket in range(buckets):
        for i in range(each):
            memory.put(digest(f"{bucket}-{i}"), bucket * BUCKET_MS, bucket)
    return memory


def held(memory: Memory) -> set[int]:
    return {record[1] for _, record in memory.items()}


def test_beyond_the_limit_the_oldest_are_forgotten_and_counted() -> None:
    memory = filled(buckets=4, each=10, limit=25)
    gone = list(memory.expire(0))
    assert held(memory) == {2, 3}
    assert (len(memory), memory.forgotten, len(gone)) == (20, 20, 2)
    assert list(memory.expire(0)) == []


def test_what_has_a_time_is_forgotten_before_what_has_none() -> None:
    memory = new_memory(limit=2)
    memory.put(A, FOREVER, 1)
    memory.put(B, 0, 2)
    memory.put(digest("c"), FOREVER, 3)
    list(memory.expire(0))
    assert held(memory) == {1, 3}


def recovered(memory: Memory, limit: int) -> Memory:
    """A memory that begins with the blocks of another one."""
    again = new_memory(limit)
    memory.changes()
    for block in memory.touched():
        again.load(block, packed(memory.dump(block)))
    return again


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("ended", [1, BUCKET_RECORDS // 2, BUCKET_RECORDS // 2 + 1])
def test_what_lasts_is_not_forgotten_before_what_lasts_longer_already(
    ended: int, restarts: bool
) -> None:
    limit = 2 * BUCKET_RECORDS
    memory = new_memory(limit)
    for i in range(2 * BUCKET_RECORDS):
        memory.put(digest(f"old-{i}"), FOREVER, 0)
    for i in range(ended):
        memory.put(digest(f"old-{i}"), 0, 0)
    list(memory.expire(2 * KEEP))
    memory = recovered(memory, limit) if restarts else memory
    for i in range(ended + 1):
        memory.put(digest(f"new-{i}"), FOREVER, 1)
    list(memory.expire(2 * KEEP))
    rows = [record[1] for _, record in memory.items()]
    assert (rows.count(0), rows.count(1)) == (BUCKET_RECORDS, ended + 1)
    assert memory.forgotten == BUCKET_RECORDS - ended


def test_the_few_of_many_that_last_long_take_few_buckets_in_the_order_of_their_ages() -> None:
    memory, blocks, moved, waves, stay = new_memory(), set[str](), 0, 16, BUCKET_RECORDS // 8
    for wave in range(waves):
        for i in range(BUCKET_RECORDS):
            memory.put(digest(f"{wave}-{i}"), FOREVER, wave)
        for i in range(stay, BUCKET_RECORDS):
            memory.put(digest(f"{wave - 1}-{i}"), 0, -1)
        memory.changes()
        blocks |= memory.touched()
        blocks -= set(memory.expire(10**15))
        moved += sum(len(names) // 8 for _, (names, *_) in memory.changes())
    assert moved <= waves * BUCKET_RECORDS // 4
    rows = [
        np.frombuffer(memory.dump(block)[0]["row"], dtype=np.int32)
        for block in sorted(blocks, key=int)
    ]
    assert sum(part.size for part in rows) == (waves - 1) * stay + BUCKET_RECORDS
    assert len(rows) <= waves // 3
    assert all(a.max() < b.min() for a, b in pairwise(rows))


def test_what_was_forgotten_early_stays_forgotten_after_a_recovery() -> None:
    memory = filled(buckets=4, each=10, limit=25)
    before, old_blocks = logged(memory)
    gone = list(memory.expire(0))
    memory.put(digest("late"), 0, 9)
    after, blocks = logged(memory)
    for with_old_blocks in (False, True):
        again = new_memory(limit=25)
        written = {**old_blocks, **blocks} if with_old_blocks else blocks
        for block, dumped in written.items():
            if with_old_blocks or block not in gone:
                again.load(block, dumped)
        for change in (*before, *after):
            again.apply(change, 0, lambda block: block not in blocks)
        list(again.expire(0))
        assert dict(again.items()) == dict(memory.items())
        assert again.forgotten == memory.forgotten == 20
    assert memory.get(digest("late")) == (0, 9, None)


def test_places_of_the_forgotten_are_used_again() -> None:
    memory = new_memory()
    sizes = []
    for bucket in range(60):
        for i in range(200):
            memory.put(digest(f"{bucket}-{i}"), bucket * BUCKET_MS, 1)
        memory.changes()
        memory.touched()
        list(memory.expire(bucket * BUCKET_MS))
        sizes.append(memory.nbytes)
    assert max(sizes[30:]) <= max(sizes[:30])
