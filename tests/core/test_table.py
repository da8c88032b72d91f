"""Hash tables in arrays, beside Python's own."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import table as tables
from stream.core.integers import Ints
from stream.core.table import ABSENT, NO_KEY, Digests, Index, KeyTable

#: Many of these share a bucket, and some the byte that is looked at before the key itself.
_KEYS = st.builds(
    lambda high, tag, low: (high << 61) + (tag << 24) + low - (1 << 63),
    st.integers(0, 7),
    st.sampled_from([0, 1, 2, 255]),
    st.integers(0, 300),
).filter(lambda key: key != NO_KEY)


@pytest.fixture(autouse=True, scope="module")
def buckets_by_the_key_itself() -> Iterator[None]:
    """Lets these tests choose who shares a bucket, which nobody else can."""
    with mock.patch.object(tables, "_SECRET", 1):
        yield


def array(keys: list[int]) -> Ints:
    return np.array(keys, dtype=np.int64)


@given(st.lists(st.tuples(st.lists(_KEYS, max_size=60), st.booleans(), st.booleans()), max_size=30))
def test_a_table_knows_what_was_put_into_it_and_not_removed(
    steps: list[tuple[list[int], bool, bool]],
) -> None:
    table, known = KeyTable({}), dict[int, int]()
    for keys, together, removes in steps:
        if removes:
            gone = [key for key in dict.fromkeys(keys) if key in known]
            table.remove(array([known.pop(key) for key in gone]))
        else:
            new = [key for key in dict.fromkeys(keys) if key not in known]
            slots = (
                table.insert(array(new)).tolist()
                if together
                else [table.insert_one(key) for key in new]
            )
            known |= zip(new, slots, strict=True)
        wanted = [known.get(key, ABSENT) for key in keys]
        assert table.find(array(keys)).tolist() == wanted
        assert [table.find_one(key) for key in keys] == wanted
        assert len(table) == len(known)
        assert len(set(known.values())) == len(known)
        assert sorted(table.live().tolist()) == sorted(known.values())


@pytest.mark.parametrize("step", [1, 1 << 40, (1 << 57) + 1, -(1 << 55) + 256])
def test_full_buckets_flow_over_into_the_next_and_around_the_end(step: int) -> None:
    keys = (np.arange(1, 3_001, dtype=np.int64) * np.int64(step)) | np.int64(1)
    keys = np.unique(keys)
    index, slots = Index(), np.arange(keys.size)
    index.rebuild(keys, slots[: keys.size // 2], keys.size)
    index.insert(keys[keys.size // 2 :], slots[keys.size // 2 :])
    assert (index.find(keys, keys) == slots).all()
    assert [index.find_one(keys, key) for key in keys[::97].tolist()] == slots[::97].tolist()
    others = np.setdiff1d(keys ^ 2, keys)
    assert (index.find(keys, others) == ABSENT).all()


@given(st.lists(st.text(max_size=300)), st.integers(0, 2**64 - 1))
def test_digests_of_many_are_those_of_each(identifiers: list[str], seed: int) -> None:
    digests = Digests(seed)
    assert digests.many(identifiers).tolist() == [digests.of(each) for each in identifiers]
