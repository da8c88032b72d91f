from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.event import Refused
from stream.core.labels import NO_LABELS, LabelCache
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


def test_the_cache_is_bounded_and_goes_on_reading_right() -> None:
    cache = LabelCache(10)
    for i in range(100):
        assert cache.read(encoded({"a": f"v{i}"})).values == {"a": f"v{i}"}
        assert len(cache._known) <= 10
    cache.read(encoded({"a" * 5000: "x"}))
    assert all(len(raw) < 5000 for raw in cache._known)
