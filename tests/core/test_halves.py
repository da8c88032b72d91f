"""Halves of surrogate pairs are found wherever escapes are, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import halves
from stream.core.halves import without_halves

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


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join))
def test_each_half_is_replaced_and_nothing_else(value: bytes) -> None:
    wanted = re.sub("[\ud800-\udfff]", "\ufffd", characters(value))
    assert characters(without_halves(value)) == wanted
    assert len(without_halves(value)) == len(value)


def test_what_has_none_is_itself() -> None:
    value = rb'{"a":"\u00e9 \\x"}'
    assert without_halves(value) is value


@pytest.mark.parametrize("between", [rb"\n", rb"\u00e9", rb"\\", b"x", rb"\ud83d\ude00"])
def test_there_is_one_step_for_all_between_two_halves(between: bytes) -> None:
    """A step for each escape would hold up whoever reads a record of nothing else."""
    value = rb"\ud83d" + between * 10_000 + rb"\ude00 "
    assert len(halves._HALVES.findall(value)) <= 4
