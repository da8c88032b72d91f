"""Partitions of keys, compared with aiokafka's own partitioner."""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.partitions import partitions


@given(keys=st.lists(st.binary(max_size=40), max_size=50), count=st.integers(1, 300))
def test_keys_go_where_kafkas_clients_send_them(keys: list[bytes], count: int) -> None:
    default = DefaultPartitioner()
    expected = [default(key, list(range(count)), []) for key in keys]
    assert partitions(keys, count).tolist() == expected
