"""What is remembered of entities."""

from __future__ import annotations

from typing import Any

from stream.core.memory import BUCKET_MS, BUCKET_RECORDS, FOREVER, Memory, digest

KEEP = 6 * BUCKET_MS
A, B = digest("a"), digest("b")


def rest(memory: Memory, key: bytes) -> Any:
    record = memory.get(key)
    return None if record is None else record[1:]


def logged(memory: Memory) -> tuple[Any, dict[str, Any]]:
    changes = memory.changes()
    return changes, {block: memory.dump(block) for block in memory.touched()}


def test_the_last_put_is_remembered() -> None:
    memory = Memory("carts", KEEP)
    memory.put(A, 5, "x")
    memory.put(A, 9, "y")
    assert rest(memory, A) == (9, "y")
    assert rest(memory, B) is None


def test_nothing_is_forgotten_before_its_time_and_all_some_time_after() -> None:
    memory = Memory("carts", KEEP)
    memory.put(A, 0)
    list(memory.expire(KEEP))
    assert rest(memory, A) == (0,)
    list(memory.expire(KEEP + 2 * BUCKET_MS))
    assert len(memory) == 0


def test_a_record_that_was_used_again_outlives_its_bucket() -> None:
    memory = Memory("carts", KEEP)
    memory.put(A, 0, "x")
    memory.put(A, KEEP, "y")
    assert list(memory.expire(KEEP + 2 * BUCKET_MS))
    assert rest(memory, A) == (KEEP, "y")


def test_what_is_for_ever_is_never_forgotten_until_it_no_longer_is() -> None:
    memory = Memory("subscriptions", KEEP)
    memory.put(A, FOREVER)
    list(memory.expire(10**15))
    assert rest(memory, A) == (FOREVER,)
    memory.put(A, 0)
    list(memory.expire(10**15))
    assert rest(memory, A) is None


def test_changes_and_blocks_each_bring_a_record_back() -> None:
    memory = Memory("carts", KEEP)
    memory.put(A, 5, (1, (2, 3)))
    memory.put(B, FOREVER, "x")
    changes, blocks = logged(memory)
    by_changes, by_blocks = Memory("carts", KEEP), Memory("carts", KEEP)
    by_changes.apply(changes, 0, lambda block: True)
    for block, dumped in blocks.items():
        by_blocks.load(block, dumped)
    for again in (by_changes, by_blocks):
        assert dict(again.items()) == dict(memory.items())


def test_a_full_bucket_goes_on_in_a_further_part() -> None:
    memory = Memory("carts", KEEP)
    for i in range(BUCKET_RECORDS + 1):
        memory.put(i.to_bytes(8, "big"), 0)
    _, blocks = logged(memory)
    assert sorted(len(dumped) for dumped in blocks.values()) == [1, BUCKET_RECORDS]
