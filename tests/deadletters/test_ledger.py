"""The ledger knows exactly which letters were sent."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.deadletters.ledger import BLOCK, Ledger, LedgerDamaged

TOPIC = "eu.cx.visit.dlq"


def written(ledger: Ledger, so_far: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
    """What a compacted topic holds once the changes are written."""
    held = dict(so_far or {})
    for key, value in ledger.changes():
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value
    return held


offsets = st.lists(
    st.integers(0, 60) | st.integers(BLOCK - 5, BLOCK + 5) | st.integers(3 * BLOCK, 3 * BLOCK + 3),
    max_size=40,
)


@settings(deadline=None)
@given(offsets, st.booleans())
def test_it_holds_what_was_added_and_nothing_else(added: list[int], sort: bool) -> None:
    ledger = Ledger()
    for offset in sorted(added) if sort else added:
        ledger.add(TOPIC, 1, offset, 5, None)
    again = Ledger.read(written(ledger))
    near = {offset + d for offset in added for d in (-1, 0, 1)} | {0, BLOCK, 2 * BLOCK}
    for one in (ledger, again):
        assert {o for o in near if one.has(TOPIC, 1, o)} == set(added)
        assert not any(one.has(TOPIC, 0, o) or one.has("cx.cart.dlq", 1, o) for o in near)
        assert one.last(TOPIC, 1) == ((max(added), 5) if added else None)


@settings(deadline=None)
@given(st.sets(st.integers(0, 3 * BLOCK), max_size=30), st.data())
def test_letters_next_to_each_other_become_one_range(there: set[int], data: st.DataObject) -> None:
    """Offsets between letters hold no letter: markers of transactions, or what was aborted."""
    letters = sorted(there)
    sent = {o for o in letters if data.draw(st.booleans())}
    ledger = Ledger()
    for before, offset in zip([None, *letters], letters, strict=False):
        if offset in sent:
            ledger.add(TOPIC, 0, offset, 7, before)
    assert {o for o in letters if ledger.has(TOPIC, 0, o)} == sent
    runs = sum(
        1 for i, o in enumerate(letters) if o in sent and (i == 0 or letters[i - 1] not in sent)
    )
    blocks = [msgspec.json.decode(v) for v in written(ledger).values()]
    assert sum(len(b["sent"]) for b in blocks) <= runs + len(blocks)


def test_all_letters_of_a_long_topic_with_markers_between_are_one_range_a_block() -> None:
    ledger = Ledger()
    before = None
    for offset in range(0, 4 * BLOCK, 7):
        ledger.add(TOPIC, 0, offset, 1, before)
        before = offset
    held = written(ledger)
    assert len(held) == 4
    assert all(len(msgspec.json.decode(value)["sent"]) == 1 for value in held.values())


def test_two_letters_with_none_in_between_are_joined_where_both_were_sent() -> None:
    ledger = Ledger()
    for offset in (3, 9, BLOCK + 2):
        ledger.add(TOPIC, 0, offset, 1, None)
    held = written(ledger)
    ledger.join(TOPIC, 0, 9, 8)
    ledger.join(TOPIC, 0, 10, 9)
    ledger.join(TOPIC, 0, 9, None)
    assert written(ledger) == {}
    ledger.join(TOPIC, 0, 9, 3)
    ledger.join(TOPIC, 0, BLOCK + 2, 9)
    blocks = [msgspec.json.decode(v)["sent"] for v in written(ledger, held).values()]
    assert blocks == [[[3, BLOCK]], [[BLOCK, BLOCK + 3]]]
    assert ledger.last(TOPIC, 0) == (BLOCK + 2, 1)


def test_only_blocks_that_changed_are_written() -> None:
    ledger = Ledger()
    ledger.add(TOPIC, 0, 5, 1, None)
    ledger.add(TOPIC, 0, BLOCK + 5, 1, None)
    held = written(ledger)
    ledger = Ledger.read(held)
    assert list(ledger.changes()) == []
    ledger.add(TOPIC, 0, 6, 2, 5)
    assert [key for key, _ in ledger.changes()] == [f"{TOPIC}/0/0".encode()]


def test_the_worst_block_fits_a_record() -> None:
    ledger = Ledger()
    first = 10**12 // BLOCK * BLOCK
    for offset in range(first, first + BLOCK, 2):
        ledger.add(TOPIC, 0, offset, 1, None)
    (value,) = written(ledger).values()
    assert len(value) < 400_000


def test_blocks_of_letters_that_are_gone_are_dropped() -> None:
    ledger = Ledger()
    for offset in (1, BLOCK - 1, BLOCK, 2 * BLOCK):
        ledger.add(TOPIC, 0, offset, 1, None)
    held = written(ledger)
    ledger.forget(TOPIC, 0, before=BLOCK + 1)
    held = written(ledger, held)
    again = Ledger.read(held)
    assert [again.has(TOPIC, 0, o) for o in (1, BLOCK, 2 * BLOCK)] == [False, True, True]
    ledger.forget(TOPIC, 0)
    assert written(ledger, held) == {}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (b"cx.visit.dlq/0", b"{}", "damaged"),
        (b"cx.visit.dlq/0/x", b"{}", "damaged"),
        (b"\xff/0/0", b"{}", "damaged"),
        (b"cx.visit.dlq/0/0", b"not JSON", "damaged"),
        (b"cx.visit.dlq/0/0", b'{"sent":[["a",1]]}', "damaged"),
        (b"cx.visit.dlq/0/0", b'{"sent":[],"version":2}', "of version 2"),
    ],
)
def test_a_damaged_ledger_is_refused(key: bytes, value: bytes, said: str) -> None:
    with pytest.raises(LedgerDamaged, match=said):
        Ledger.read({key: value})
