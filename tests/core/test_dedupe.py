"""Event ids that were accepted lately."""

from __future__ import annotations

import pytest

from stream.core.dedupe import SeenIds

DEDUPE = 600_000
A, B = b"aaaaaaaa", b"bbbbbbbb"


@pytest.mark.parametrize(("clock", "seen"), [(1000, True), (601_000, True), (601_001, False)])
def test_an_id_is_seen_until_time_has_moved_on_by_more_than_dedupe(clock: int, seen: bool) -> None:
    ids = SeenIds("cx.visit", DEDUPE)
    ids.add(A, 1000)
    assert ids.has(A, clock) is seen
    assert not ids.has(B, clock)


def test_an_id_accepted_again_is_seen_from_then() -> None:
    ids = SeenIds("cx.visit", DEDUPE)
    ids.add(A, 0)
    ids.changes()
    ids.add(A, 700_000)
    ids.changes()
    list(ids.expire(1_299_999))
    assert ids.has(A, 1_300_000)


def test_forgetting_drops_only_what_no_duplicate_can_fall_into() -> None:
    ids = SeenIds("cx.visit", DEDUPE)
    for key, clock in ((A, 59_999), (B, 60_000)):
        ids.add(key, clock)
    ids.changes()
    assert list(ids.expire(659_999)) == []
    assert list(ids.expire(660_000)) == ["0"]
    assert ids.has(B, 660_000)
    assert len(ids) == 1


def test_changes_and_blocks_each_bring_an_id_back() -> None:
    ids = SeenIds("cx.visit", DEDUPE)
    ids.add(A, 5)
    ids.add(B, 61_000)
    changes, blocks = ids.changes(), {b: ids.dump(b) for b in ids.touched()}
    by_changes, by_blocks = (SeenIds("cx.visit", DEDUPE) for _ in range(2))
    by_changes.apply(changes, 0, lambda block: True)
    for block, dumped in blocks.items():
        by_blocks.load(block, dumped)
    for again in (by_changes, by_blocks):
        assert again.has(A, 600_005)
        assert not again.has(A, 600_006)
        assert again.has(B, 600_006)


def test_changes_that_a_block_holds_already_are_passed_over() -> None:
    ids, again = SeenIds("cx.visit", DEDUPE), SeenIds("cx.visit", DEDUPE)
    ids.add(A, 5)
    again.apply(ids.changes(), 0, lambda block: False)
    assert not again.has(A, 5)
