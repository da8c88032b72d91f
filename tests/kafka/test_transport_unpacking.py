"""Taking records out of fetched batches: the same as the client does, only in larger pieces."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka import codecs
from stream.kafka.header_count import COUNTED_BEYOND, MOST_HEADERS, TooManyHeaders
from stream.kafka.records import lenient
from stream.kafka.unpacking import UNREAD_BATCH, Unpacking, Unread
from tests.kafka.batches import (
    CODECS,
    GZIP,
    PACK,
    Batch,
    Headers,
    Sent,
    batch_of,
    fetched,
    log_of,
    old_batch,
)

MANY = 1_000_000
#: Where the first record of a batch says its length.
_LENGTH = 61


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
        codec = draw(st.sampled_from(list(CODECS.values())))
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
    client = fetched(data, position, aborted, committed, MemoryRecords)
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
def test_of_a_large_batch_a_take_has_one_record_that_goes_beyond_its_bytes(codec: int) -> None:
    batch = Batch(0, 64, tuple(range(64)), codec=codec, value=b"x" * 100_000)
    unpacking = Unpacking(fetched(log_of([batch])))
    more, sizes = True, []
    while more:
        records, more = unpacking.take(MANY, 150_000)
        sizes.append(len(records))
    assert sum(sizes) == 64
    assert set(sizes) - {0} == {2}


@pytest.mark.parametrize("codec", [0, GZIP])
def test_a_take_of_large_records_ends_soon_after_its_number_of_bytes(codec: int) -> None:
    kept = tuple(range(1_000))
    log = log_of([Batch(0, 1_000, kept, codec=codec, value=b"x" * 10_000)])
    unpacking = Unpacking(fetched(log))
    records, more = unpacking.take(4_000, 500_000)
    assert more
    assert 50 <= len(records) < 50 + 64
    assert len(drained(unpacking, 4_000, 500_000)) == 1_000 - len(records)


#: What is no batch of old formats: the oldest has no lz4, and zstd came later than both.
OLD: list[tuple[Literal[0, 1], str]] = [
    (0, "none"),
    (0, "gzip"),
    (0, "snappy"),
    (1, "none"),
    (1, "gzip"),
    (1, "snappy"),
    (1, "lz4"),
]


@pytest.mark.parametrize(("magic", "codec"), OLD)
@pytest.mark.parametrize("position", [5, 7])
def test_batches_of_old_formats_are_taken_as_the_client_takes_them(
    magic: Literal[0, 1], codec: str, position: int
) -> None:
    values = [b"v%d" % n for n in range(4)]
    # A broker's answer begins with the batch that holds the position.
    begin = 5 if codec != "none" else position
    first = old_batch(begin, magic, CODECS[codec], values[begin - 5 :])
    log = first + old_batch(9, magic, 0, values[:1])
    expected = [seen(r) for r in fetched(log, position, records=MemoryRecords)]
    assert [offset for offset, *_ in expected] == list(range(position, 10))
    assert drained(Unpacking(fetched(log, position)), MANY, MANY) == expected


# Names of headers that are no UTF-8 -------------------------------------------------------------

NAMES = [b"plain", b"n\xe4me", "n\u00e4me".encode(), b"\xff\xfe", b""]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("most", [1, 7, MANY])
def test_records_are_read_whatever_their_headers_are_called(codec: str, most: int) -> None:
    headers: list[Headers] = [
        [],
        [(name, b"x") for name in NAMES],
        [(b"\xe4", None)],
        [(b"b", b"\xe4")],
    ]
    sent: list[Sent] = [
        (b"k%d" % n, b"v%d" % n, headers[n % 4] if n > 70 else ()) for n in range(150)
    ]
    sent[80], sent[90] = (None, b"", headers[1]), (b"", None, headers[2])
    log = batch_of(sent, 5, CODECS[codec], PACK[codec]) + batch_of(sent[:71], 155)
    read = [(5 + n, *sent[n % 150][:2], told(sent[n % 150][2])) for n in range(221)]
    for position in (5, 60, 85, 154):
        unpacking = Unpacking(fetched(log, position))
        assert drained(unpacking, most, MANY) == read[position - 5 :]
        assert unpacking.next_fetch_offset == 226
        # So do those who read by the client's own means.
        assert [seen(r) for r in fetched(log, position)] == read[position - 5 :]


def told(headers: Headers) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name.decode(errors="backslashreplace"), said) for name, said in headers)


def test_what_is_read_a_second_time_has_the_times_that_the_client_tells() -> None:
    for attributes, times in ((0, [1_700_000_000_000] * 2), (0x08, [1_700_000_009_000] * 2)):
        found = []
        for name in (b"name", b"n\xe4me"):
            batch = bytearray(batch_of([(b"k", b"v", [(name, b"x")])]))
            batch[22] |= attributes
            batch[35:43] = (1_700_000_009_000).to_bytes(8, "big")
            batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
            [record] = fetched(bytes(batch))
            found.append((record.timestamp, record.timestamp_type))
        assert found[0] == found[1]
        assert [time for time, _ in found] == times


def test_a_record_that_breaks_off_is_not_read_the_second_time_either() -> None:
    whole = batch_of([(b"k", b"v", [(b"n\xe4me", b"x")]), (b"k", b"v", [(b"name", b"value")])])
    for cut in (1, 4, 9, 12):
        with pytest.raises(CorruptRecordException, match="a record can't be read"):
            list(lenient(memoryview(whole)[:-cut]))
    batch = bytearray(whole)
    batch[_LENGTH] += 2
    with pytest.raises(CorruptRecordException, match="it has 15 bytes, not 16"):
        list(lenient(memoryview(batch)))


# Batches that are too large to be unpacked -----------------------------------------------------


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "MOST_UNPACKED", 50_000)


LARGE = b"x" * 20_000
packing = pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])


@packing
@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize("most", [2, MANY])
def test_of_a_batch_that_is_too_large_each_record_passes_by_unread(codec: str, most: int) -> None:
    number = CODECS[codec]
    batches = [
        Batch(5, 2, (0, 1), codec=number),
        Batch(7, 3, (0, 1, 2), codec=number, value=LARGE),
        Batch(10, 2, (0, 1), codec=number, value=LARGE),
    ]
    read = [
        *((5, b"k0", b'{"a":1}5', (("trace", b"0"),)), (6, b"k1", b'{"a":1}6', ())),
        *((offset, None, None, ()) for offset in (7, 8, 9)),
        *((10, b"k0", LARGE + b"10", (("trace", b"0"),)), (11, b"k1", LARGE + b"11", ())),
    ]
    for position in range(5, 12):
        # A broker's answer begins with the batch that holds the position.
        log = log_of([b for b in batches if b.base + b.width > position])
        assert len(log) < 50_000
        unpacking = Unpacking(fetched(log, position))
        assert drained(unpacking, most, MANY) == read[position - 5 :]
        assert unpacking.next_fetch_offset == 12


@pytest.mark.usefixtures("bound")
@pytest.mark.parametrize(("magic", "codec"), [pair for pair in OLD if pair[1] != "none"])
def test_of_a_large_batch_of_an_old_format_each_record_passes_by_unread(
    magic: Literal[0, 1], codec: str
) -> None:
    log = old_batch(5, magic, CODECS[codec], [LARGE] * 3) + old_batch(8, magic, 0, [b"v"])
    for position in range(5, 8):
        taken, _ = Unpacking(fetched(log, position)).take(MANY, MANY)
        assert [type(r) is Unread for r in taken] == [True] * (8 - position) + [False]
        assert [r.offset for r in taken] == list(range(position, 9))


@packing
@pytest.mark.usefixtures("bound")
def test_a_large_batch_of_an_aborted_transaction_has_no_records(codec: str) -> None:
    large = Batch(0, 3, (0, 1, 2), 7, codec=CODECS[codec], value=LARGE)
    log = log_of([large, Batch(3, 1, (), 7, "abort"), Batch(4, 1, (0,))])
    unpacking = Unpacking(fetched(log, 0, [(7, 0)]))
    assert [offset for offset, *_ in drained(unpacking, MANY, MANY)] == [4]


# Headers without number ---------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_of_a_large_batch_with_a_record_of_too_many_headers_each_record_passes_by_unread(
    codec: str,
) -> None:
    plain: Sent = (b"k", b"x" * COUNTED_BEYOND, ())
    for count in (MOST_HEADERS, MOST_HEADERS + 1):
        sent = [plain, (b"k", b"v", [(b"", None)] * count)]
        for extra in ((), [(b"n\xe4me", b"x")]):
            log = batch_of([*sent, (b"k", b"v", extra)], 5, CODECS[codec], PACK[codec])
            taken, _ = Unpacking(fetched(log + batch_of(sent[:1], 8), 5)).take(MANY, MANY * MANY)
            assert [r.offset for r in taken] == [5, 6, 7, 8]
            unread = [r.reason for r in taken if isinstance(r, Unread)]
            assert unread == [TooManyHeaders().reason] * 3 * (count > MOST_HEADERS)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
def test_a_take_ends_soon_after_headers_that_take_its_number_of_bytes(codec: str) -> None:
    sent: Sent = (b"k", b"v", [(b"", None)] * 5_000)
    log = b"".join(batch_of([sent], n, CODECS[codec], PACK[codec]) for n in range(100))
    taken, more = Unpacking(fetched(log)).take(MANY, 2_000_000)
    assert more
    assert len(taken) == 5


@pytest.mark.parametrize(
    "sent",
    [(bytes(10_000), b"", []), (None, bytes(10_000), []), (None, b"", [(b"h", bytes(10_000))])],
    ids=["key", "value", "header"],
)
def test_whatever_it_is_that_takes_many_bytes_bounds_a_take(sent: Sent) -> None:
    log = b"".join(batch_of([sent], n, CODECS["zstd"], PACK["zstd"]) for n in range(100))
    taken, more = Unpacking(fetched(log)).take(MANY, 200_000)
    assert more
    assert len(taken) in {20, 21}


def test_a_batch_of_markers_that_compaction_has_left_none_of_ends_no_transaction() -> None:
    """The broker may keep the empty batch, so that it knows how far its producer has come."""
    marker = bytearray(Batch(1, 1, (0,), 7, "abort").encode()[:_LENGTH])
    marker[8:12] = (_LENGTH - 12).to_bytes(4, "big")
    marker[57:61] = bytes(4)
    marker[17:21] = calc_crc32c(memoryview(bytes(marker))[21:]).to_bytes(4, "big")
    log = Batch(0, 1, (0,)).encode() + bytes(marker) + Batch(2, 1, (0,)).encode()
    taken, _ = Unpacking(fetched(log)).take(MANY, MANY)
    assert [record.offset for record in taken] == [0, 2]
    assert [record.offset for record in fetched(log)] == [0, 2]


def test_nothing_behind_a_batch_is_read_as_a_record_of_it() -> None:
    one = bytearray(batch_of([(b"k", b"v", [])], 0, 0, PACK["none"]))
    one[57:61] = (2).to_bytes(4, "big")
    behind = bytes(one) + bytes(100)
    records = lenient(memoryview(behind)[: len(one)])
    assert next(records).value == b"v"
    with pytest.raises(CorruptRecordException, match="it ends too soon"):
        next(records)


# Batches that are as they were sent and yet can't be read -----------------------------------------


def not_packed(content: bytes) -> bytes:
    return b"not packed" + content


def broken_off(content: bytes) -> bytes:
    return content[:-3]


@pytest.mark.parametrize("position", [5, 7, 8])
@pytest.mark.parametrize("number", range(8))
def test_of_a_batch_that_can_not_be_read_each_record_passes_by_unread(
    number: int, position: int
) -> None:
    """Other clients may pack it otherwise, and brokers may not look."""
    sent: list[Sent] = [(b"k", b"v%d" % n, ()) for n in range(3)]
    bad = batch_of(sent, 6, number, not_packed)
    log = batch_of(sent[:1], 5) * (position == 5) + bad + batch_of(sent[:2], 9)
    unpacking = Unpacking(fetched(log, position))
    taken, more = unpacking.take(MANY, MANY)
    assert not more
    assert unpacking.next_fetch_offset == 11
    unread = [Unread(offset, UNREAD_BATCH) for offset in range(max(6, position), 9)]
    assert [r for r in taken if isinstance(r, Unread)] == unread
    assert [r.offset for r in taken] == list(range(position, 11))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("most", [1, MANY])
def test_what_comes_before_a_record_that_can_not_be_read_is_read(codec: str, most: int) -> None:
    sent: list[Sent] = [(b"k", b"v%d" % n, ()) for n in range(150)]
    for name in (b"n\xe4me", b"name"):
        sent[99] = (b"k", b"v", [(name, b"x")])
        log = batch_of(sent, 5, CODECS[codec], lambda content: PACK[codec](broken_off(content)))
        unpacking = Unpacking(fetched(log, 5))
        records = drained(unpacking, most, MANY)
        assert [offset for offset, *_ in records] == list(range(5, 155))
        assert [value for _, _, value, _ in records] == [*(v for _, v, _ in sent[:-1]), None]


def test_what_comes_before_a_damaged_batch_is_taken_first() -> None:
    log = bytearray(log_of([Batch(0, 2, (0, 1)), Batch(2, 2, (0, 1))]))
    log[-3] ^= 1
    unpacking = Unpacking(fetched(bytes(log)))
    taken, more = unpacking.take(MANY, MANY)
    assert ([r.offset for r in taken], more) == ([0, 1], True)
    for _ in range(2):
        with pytest.raises(CorruptRecordException, match="at 2 is damaged"):
            unpacking.take(MANY, MANY)


def test_a_damaged_batch_is_never_passed_off_as_records() -> None:
    log = bytearray(log_of([Batch(0, 2, (0, 1))]))
    log[-3] ^= 1
    with pytest.raises(CorruptRecordException, match="at 0 is damaged"):
        Unpacking(fetched(bytes(log))).take(MANY, MANY)
