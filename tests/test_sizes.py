"""No record is larger than it is said to be."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.sizes import batch_bytes

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_values = st.none() | st.binary(max_size=300)


@given(_values, _values, st.lists(st.tuples(_texts, _values), max_size=20))
def test_a_batch_with_one_record_is_no_larger_than_that_nor_much_smaller(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1_700_000_000_000, key, value, headers)
    size = len(builder.build())
    assert size <= batch_bytes(key, value, headers) <= size + 60


@pytest.mark.parametrize("size", [0, 63, 64, 8_191, 8_192, 2**20 - 1, 2**20, 2**20 + 1])
def test_a_header_takes_what_its_name_and_value_take_and_their_lengths(size: int) -> None:
    plain, headers = DefaultRecordBatchBuilder.size_of(None, None, []), [("", b"x" * size)]
    more = DefaultRecordBatchBuilder.size_of(None, None, headers) - plain
    assert batch_bytes(None, None, headers) == batch_bytes(None, None) + more


def test_many_small_headers_make_a_record_no_larger_than_it_is() -> None:
    headers: list[tuple[str, bytes | None]] = [("", None)] * 400_000
    assert batch_bytes(b"k", b"v", headers) < 801_000
