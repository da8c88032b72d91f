"""Headers are counted before they are made, whatever a record says of its length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.header_count import (
    COUNTED_BEYOND,
    MOST_HEADERS,
    TooManyHeaders,
    refuse_many_headers,
)
from tests.kafka.batches import Sent, batch_of, varint

#: Where the records of a batch begin.
_BEGIN = 61
EMPTY = (b"", None)
LARGE = b"x" * COUNTED_BEYOND

_some = st.none() | st.binary(max_size=3) | st.sampled_from([b"y" * n for n in (63, 64, 9_000)])
_headers = st.integers(0, 2).flatmap(lambda n: st.just([(b"name", b"said")] * n))


def content_of(*records: Sent) -> bytes:
    return batch_of(records)[_BEGIN:]


@given(st.lists(st.tuples(_some, _some, _headers), max_size=70), st.data())
def test_only_a_record_with_more_headers_than_are_read_is_refused(
    around: list[Sent], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(around)))
    key, value = data.draw(st.tuples(_some, _some))
    for count in (0, 8_191, 8_192, MOST_HEADERS, MOST_HEADERS + 1):
        record: Sent = (key, value, [EMPTY] * count)
        content = content_of(*around[:place], record, (b"k", LARGE, ()), *around[place:])
        if count <= MOST_HEADERS:
            refuse_many_headers(content)
        else:
            with pytest.raises(TooManyHeaders):
                refuse_many_headers(memoryview(content))


def test_a_small_batch_may_have_any_number_of_headers() -> None:
    content = content_of((b"k", b"v", [EMPTY] * (2 * MOST_HEADERS)))
    assert len(content) < COUNTED_BEYOND
    refuse_many_headers(content)


def test_a_record_that_says_a_wrong_length_is_refused_for_its_headers() -> None:
    many = b"\0" * 3 + varint(-1) * 2 + varint(MOST_HEADERS + 1) + varint(0) * COUNTED_BEYOND
    for length in (1, 20, len(many), 10**9):
        with pytest.raises(TooManyHeaders):
            refuse_many_headers(varint(length) + many)


@pytest.mark.parametrize("rest", [b"", b"\0", varint(-5), varint(10**9), b"\xff" * 20, b"\x0c"])
def test_what_is_no_record_is_left_to_the_client(rest: bytes) -> None:
    refuse_many_headers(content_of((b"k", LARGE, ())) + rest)
    refuse_many_headers(rest + b"\xff" * (COUNTED_BEYOND + 1))
