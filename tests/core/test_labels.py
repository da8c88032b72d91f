from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.event import Refused
from stream.core.labels import (
    LONGEST_KEY,
    MAX_ENTRIES,
    MAX_VALUE,
    NO_LABELS,
    LabelCache,
    LabelColumn,
    bounded,
)
from tests.strategies import texts


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(st.dictionaries(texts(20), st.none() | texts(64), max_size=16))
def test_labels_are_what_was_written_without_the_nulls(written: dict[str, str | None]) -> None:
    labels = LabelCache(10).read(encoded(written))
    assert labels.values == {k: v for k, v in written.items() if v is not None}
    assert json.loads(labels.key) == labels.values


def test_equal_labels_are_one_object_however_they_were_written() -> None:
    one, other = LabelCache(10), LabelCache(10)
    labels = one.read(b'{"channel":"web","region":"eu"}')
    assert one.read(msgspec.Raw(b'{"region": "eu", "channel": "web", "plan": null}')) is labels
    assert other.read(b'{"channel":"\\u0077eb","region":"eu"}') is labels
    assert one.read(b'{"channel":"web"}') is not labels


@pytest.mark.parametrize("raw", [b"null", b"{}", b' { "a" : null } '])
def test_no_labels_are_one_object(raw: bytes) -> None:
    assert LabelCache(10).read(raw) is NO_LABELS


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], "labels"),
        ("a", "labels"),
        (1, "labels"),
        (True, "labels"),
        ({f"k{i}": "x" for i in range(17)}, "labels"),
        ({"a": "x", "b": 1}, "labels.b"),
        ({"a": "x", "b": True}, "labels.b"),
        ({"a": ["x"]}, "labels.a"),
        ({"a": {"b": "c"}}, "labels.a"),
        ({"a": ""}, "labels.a"),
        ({"a": "x" * 65}, "labels.a"),
        ({"a" * 100_000: 1}, f"labels.{'a' * 64}"),
    ],
)
def test_what_are_no_labels_is_refused_with_the_label_that_is_wrong(value: Any, path: str) -> None:
    cache = LabelCache(10)
    for _ in range(2):  # What was refused once is not remembered as good.
        with pytest.raises(Refused) as refused:
            cache.read(encoded(value))
        assert refused.value.path == path


@pytest.mark.parametrize("raw", [b'{"a":', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        LabelCache(10).read(raw)


def test_values_are_counted_in_characters() -> None:
    assert LabelCache(10).read(encoded({"a": "😀" * 64})).values == {"a": "😀" * 64}


def test_labels_that_are_too_long_for_a_key_have_a_digest_for_one() -> None:
    longest = {"a": "x", "b" * (LONGEST_KEY - len('{"a":"x","":"y"}')): "y"}
    labels = LabelCache(10).read(encoded(longest))
    assert len(labels.key) == LONGEST_KEY
    assert json.loads(labels.key) == longest
    beyond = {name * 2: value for name, value in longest.items()}
    labels = LabelCache(10).read(encoded(beyond))
    assert labels.values == beyond
    assert len(labels.key) < 100
    assert not labels.key.startswith((b"{", b"("))
    # It is that of the labels: the same however they were written, another for others.
    again = LabelCache(10).read(encoded(dict(reversed(beyond.items())) | {"c": None}))
    assert again is labels
    for other in ({**beyond, "aa": "z"}, {**beyond, "c": "x"}, {"aa": "x"}):
        assert LabelCache(10).read(encoded(other)).key != labels.key
    # So it is in a state, years later.
    assert bounded(b"{" + b" " * LONGEST_KEY + b"}") == (
        b"blake2b:8701d5aaf6f16d0add8c677c0dfffcb657e572d4fcd5737f32f02aa9d6bb2d03"
    )


def test_full_labels_in_any_script_are_keys_themselves() -> None:
    """Or a dimension that is added later would not know them."""
    names = [f"{'label' * 11}{n}"[-56:] for n in range(MAX_ENTRIES)]
    full = dict.fromkeys(names, "\u6587" * MAX_VALUE)
    assert json.loads(LabelCache(10).read(encoded(full)).key) == full


@pytest.mark.parametrize("length", [1, 5_000])
def test_the_cache_is_bounded_in_sets_and_bytes_and_goes_on_reading_right(length: int) -> None:
    cache = LabelCache(10)
    for i in range(100):
        name = "a" * length
        assert cache.read(encoded({name: f"v{i}"})).values == {name: f"v{i}"}
        # The first is that of records whose labels are not looked at.
        assert len(cache.sets) - 1 <= 10
        assert sum(len(labels.key) for labels in cache.sets) <= 10 * 2_048 + 2 * length


def test_many_labels_are_read_as_one_by_one() -> None:
    raws = [encoded(each) for each in ({"a": "x"}, {}, {"b": "y"}, {"a": "x"})]
    cache = LabelCache(10)
    numbers = cache.numbers(raws)
    assert [cache.sets[n] for n in numbers.tolist()] == [cache.read(raw) for raw in raws]
    assert numbers.tolist() == [cache.number(raw) for raw in raws]
    with pytest.raises(Refused):
        cache.numbers([*raws, b'{"a":1}'])
    # What holds the separator of the copied texts is none of JSON, and refused as such.
    with pytest.raises(Refused):
        cache.numbers([*raws, b'{"a":"x\0"}'])


def test_numbers_hold_for_the_sets_that_were_there_when_they_were_given() -> None:
    cache = LabelCache(2)
    read = []
    for i in range(9):
        cache.make_room()
        raws = [encoded({"a": f"v{i + j}"}) for j in range(3)]
        column = LabelColumn(cache.numbers(raws), cache.sets)
        read.append((column, [{"a": f"v{i + j}"} for j in range(3)]))
    assert len({id(column.sets) for column, _ in read}) > 1
    for column, wanted in read:
        assert [labels.values for labels in column.listed()] == wanted


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1), st.booleans())
def test_joined_columns_are_all_their_labels_in_order(
    parts: list[list[str]], of_one_cache: bool
) -> None:
    one = LabelCache()
    columns, wanted = [], []
    for names in parts:
        cache = one if of_one_cache else LabelCache()
        raws = [encoded({name: "x"}) for name in names]
        columns.append(LabelColumn(cache.numbers(raws), cache.sets))
        wanted += [cache.read(raw) for raw in raws]
    joined = LabelColumn.joined(columns)
    assert joined.listed() == [joined[i] for i in range(len(joined))] == wanted
    some = np.arange(0, len(wanted), 2)
    assert joined.take(some).listed() == wanted[::2]


@pytest.mark.parametrize(
    ("values", "path", "reason"),
    [
        ({f"k{i}": 1 for i in range(100_000)}, "labels", "has more than 16 entries"),
        ({"a": 1, **{f"k{i}": "x" for i in range(100_000)}}, "labels", "has more than 16 entries"),
        ({"a": "x", "b": [[]] * 100_000, "c": 1}, "labels.b", "must be a text"),
        ([{}] * 100_000, "labels", "must be an object of texts"),
    ],
)
def test_of_long_labels_the_first_rule_that_is_broken_is_named_too(
    values: Any, path: str, reason: str
) -> None:
    with pytest.raises(Refused) as refused:
        LabelCache(10).read(encoded(values))
    assert (refused.value.path, str(refused.value)) == (path, reason)


@pytest.mark.parametrize("times", [3, 30_000])
def test_a_label_that_is_written_often_is_one(times: int) -> None:
    raw = b"{%b}" % b",".join([b'"a":"x"', rb'"\u0061":"y"'] * times)
    assert LabelCache(10).read(raw).values == {"a": "y"}
