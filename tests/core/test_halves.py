"""Halves of surrogate pairs are found wherever escapes are, and nowhere else."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from stream.core.halves import both_without_halves, without_halves

#: What texts in JSON are made of, as it matters here.
TOKENS = [
    rb"\\",
    rb"\n",
    rb"\"",
    rb"\u00e9",
    rb"\ud83d",
    rb"\uDE00",
    rb"\uD83d\ude00",
    b"ud83d",
    b"x",
    b"\n",
]


def characters(value: bytes) -> str:
    """The characters of a text, by Python, which keeps halves."""
    return str(json.loads(b'"' + value + b'"', strict=False))


#: What looks like an escape and is none, or is one that breaks off.
BROKEN = [b"\\", b"\\u", rb"\ud8", rb"\ufff*", b"*", b'"', b"\xff", b"\0", b"--"]

_PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF = rb"u[dD][89a-fA-F][0-9a-fA-F]{2}"
_STEP = re.compile(rb"\\(?:%b|(%b)|.)" % (_PAIR, _HALF), re.DOTALL)


def by_steps(value: bytes, standin: bytes) -> bytes:
    """The same with a look at each escape, in its turn."""
    return _STEP.sub(lambda found: found[0] if found[1] is None else standin, value)


@given(st.lists(st.sampled_from(TOKENS + BROKEN), max_size=16).map(b"".join))
def test_halves_are_those_that_a_look_at_each_escape_finds(value: bytes) -> None:
    assert both_without_halves(value) == (by_steps(value, b"\\ufffd"), by_steps(value, b"\\ufffc"))


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join))
def test_each_half_is_replaced_and_nothing_else(value: bytes) -> None:
    wanted = re.sub("[\ud800-\udfff]", "\ufffd", characters(value))
    assert characters(without_halves(value)) == wanted
    assert len(without_halves(value)) == len(value)


def test_what_has_none_is_itself() -> None:
    value = rb'{"a":"\u00e9 \\x"}'
    assert without_halves(value) is value
