"""How deep a record may be nested does not depend on the stack of the process that reads it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.core.nesting import MOST_LEVELS, is_too_deep

EVENT = (
    b'{"type":"visit.ended","visit_id":"v","event_id":"e","occurred_at":"2026-03-02T10:00:00Z",%s}'
)

anything = st.recursive(
    st.none() | st.text() | st.sampled_from(["[[[", '"{', "\\", '\\"[']),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def nested(levels: int, opens: bytes = b"[", closes: bytes = b"]", within: bytes = b"1") -> bytes:
    return opens * levels + within + closes * levels


def depth(value: Any) -> int:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (nested(MOST_LEVELS), False),
        (nested(MOST_LEVELS + 1), True),
        (nested(MOST_LEVELS, b'{"a":', b"}"), False),
        (nested(MOST_LEVELS + 1, b'{"a":', b"}"), True),
        (nested(250, b'{"a":[', b"]}"), False),
        (nested(251, b'{"a":[', b"]}"), True),
        (b"[" + b"[]," * 2000 + b"[]]", False),
        (b"[" + b'{"a":[]},' * 2000 + nested(MOST_LEVELS) + b"]", True),
        (b'["' + b"[" * 2000 + b'"]', False),
        (b'["\\"' + b"{" * 2000 + b'\\\\",1]', False),
        (b'["\\\\",' + nested(MOST_LEVELS) + b"]", True),
        (b"", False),
        (b"[" * 100_000, True),
        (b"]" * 100_000 + b"[" * 501, False),
        (b'"' + b"[" * 100_000, True),
    ],
)
def test_a_text_is_too_deep_beyond_the_limit(text: bytes, *, deep: bool) -> None:
    assert is_too_deep(text) is deep


@given(anything, st.integers(MOST_LEVELS - 8, MOST_LEVELS + 2))
def test_levels_are_those_of_what_the_text_means(value: Any, levels: int) -> None:
    text = nested(levels, within=json.dumps(value).encode())
    assert is_too_deep(text) is (levels + depth(value) > MOST_LEVELS)


@pytest.mark.parametrize("field", [b'"x":%s', b'"x":{"y":%s}', b'"x":"\\u00e4","y":[1,%s]'])
@pytest.mark.parametrize("frames", [0, 300])
def test_an_event_is_accepted_up_to_the_limit_and_refused_beyond_it(
    field: bytes, frames: int
) -> None:
    around = depth(json.loads(EVENT % (field % b"1")))
    fits, deeper = (EVENT % (field % nested(MOST_LEVELS - around + more)) for more in (0, 1))

    def decoded(frames: int) -> list[Any]:
        return decoded(frames - 1) if frames else Decoder("cx.visit").decode([fits, deeper]).events

    accepted, refused = decoded(min(frames, sys.getrecursionlimit() - MOST_LEVELS - 200))
    assert not isinstance(accepted, Invalid)
    assert refused == Invalid("$", "has more than 500 objects and lists within one another")


def test_what_is_too_deep_says_so_whatever_else_is_wrong_with_it() -> None:
    for wrong in (b"[" * 100_000, nested(700) + b",", nested(700, within=b"\xff")):
        (event,) = Decoder("cx.visit").decode([EVENT % (b'"x":' + wrong)]).events
        assert isinstance(event, Invalid)
        assert event.reason.startswith("has more than 500 objects")
