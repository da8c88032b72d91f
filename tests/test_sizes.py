"""No record is larger than it is said to be."""

from __future__ import annotations

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
    assert size <= batch_bytes(key, value, headers) <= size + 60 + 10 * len(headers)
