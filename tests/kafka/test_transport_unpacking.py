"""Taking records out of fetched batches: the same as the client does, only in larger pieces."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.unpacking import Unpacking
from tests.kafka.batches import GZIP, Batch, fetched, log_of

MANY = 1_000_000


def seen(record: Any) -> tuple[Any, ...]:
    return record.offset, record.key, record.value, tuple(record.headers)


def drained(unpacking: Unpacking, most: int, most_bytes: int) -> list[tuple[Any, ...]]:
    """All records by takes of limited size; the positions fit the records."""
    found: list[tuple[Any, ...]] = []
    more = True
    while more:
        before = unpacking.next_fetch_offset
        records, more = unpacking.take(most, most_bytes)
        assert len(records) <= most
        assert all(before <= r.offset < unpacking.next_fetch_offset for r in records)
        found += [seen(r) for r in records]
    return found


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Batch], list[tuple[int, int]]]:
    """Batches of several producers, with transactions that end either way, and compaction."""
    batches: list[Batch] = []
    aborted: list[tuple[int, int]] = []
    opened: dict[int, int] = {}
    base = draw(st.integers(0, 5))
    for _ in range(draw(st.integers(1, 12))):
        producer = draw(st.sampled_from([-1, 1, 2]))
        if producer in opened and draw(st.booleans()):
            ending = draw(st.sampled_from(["commit", "abort"]))
            if ending == "abort":
                aborted.append((producer, opened[producer]))
            del opened[producer]
            batches.append(Batch(base, 1, (), producer, ending))  # type: ignore[arg-type]
            base += 1
            continue
        width = draw(st.integers(1, 150))
        kept = draw(
            st.one_of(st.just(tuple(range(width))), st.sets(st.integers(0, width - 1)).map(sorted))
        )
        value = draw(st.sampled_from([None, b"", b"v" * 30]))
        codec = draw(st.sampled_from([0, GZIP]))
        batches.append(Batch(base, width, tuple(kept), producer, "records", codec, value))
        if producer >= 0:
            opened.setdefault(producer, base)
        base += width + draw(st.sampled_from([0, 0, 3]))
    for producer, first in opened.items():
        batches.append(Batch(base, 1, (), producer, "abort"))
        aborted.append((producer, first))
        base += 1
    return batches, aborted


@given(
    logs(),
    st.booleans(),
    st.floats(0, 1),
    st.integers(0, 60),
    st.integers(1, 200),
    st.integers(1, 2_000),
)
def test_what_is_taken_is_what_the_client_itself_would_yield(
    log: tuple[list[Batch], list[tuple[int, int]]],
    committed: bool,
    where: float,
    cut: int,
    most: int,
    most_bytes: int,
) -> None:
    batches, aborted = log
    begin = batches[0].base
    position = begin + int(where * batches[0].width)
    data = log_of(batches)
    # A broker cuts off the last batch where the limit of bytes is reached.
    data = data[: len(data) - cut] if len(batches) > 1 else data
    client = fetched(data, position, aborted, committed)
    expected = [seen(r) for r in client]
    unpacking = Unpacking(fetched(data, position, aborted, committed))
    assert drained(unpacking, most, most_bytes) == expected
    assert unpacking.next_fetch_offset == client.next_fetch_offset


def test_aborted_records_count_only_where_uncommitted_ones_are_read() -> None:
    log = log_of([Batch(0, 3, (0, 1, 2), 7), Batch(3, 1, (), 7, "abort"), Batch(4, 1, (0,))])
    for committed, offsets in ((True, [4]), (False, [0, 1, 2, 4])):
        unpacking = Unpacking(fetched(log, 0, [(7, 0)], committed))
        assert [o for o, *_ in drained(unpacking, MANY, MANY)] == offsets
        assert unpacking.next_fetch_offset == 5


def test_a_take_ends_with_its_number_of_records_and_the_next_goes_on_there() -> None:
    unpacking = Unpacking(fetched(log_of([Batch(0, 100, tuple(range(100)))])))
    first, more = unpacking.take(70, MANY)
    assert more
    assert (len(first), unpacking.next_fetch_offset) == (70, 70)
    second, more = unpacking.take(70, MANY)
    assert not more
    assert (second[0].offset, len(second), unpacking.next_fetch_offset) == (70, 30, 100)


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_take_of_large_records_ends_soon_after_its_number_of_bytes(codec: int) -> None:
    kept = tuple(range(1_000))
    log = log_of([Batch(0, 1_000, kept, codec=codec, value=b"x" * 10_000)])
    unpacking = Unpacking(fetched(log))
    records, more = unpacking.take(4_000, 500_000)
    assert more
    assert 50 <= len(records) < 50 + 64
    assert len(drained(unpacking, 4_000, 500_000)) == 1_000 - len(records)


def test_a_damaged_batch_is_never_passed_off_as_records() -> None:
    log = bytearray(log_of([Batch(0, 2, (0, 1)), Batch(2, 2, (0, 1))]))
    log[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="at 2 is damaged"):
        Unpacking(fetched(bytes(log))).take(MANY, MANY)
