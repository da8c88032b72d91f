"""Nothing that a record holds steers a terminal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.escape import escaped, quoted, safe_json, width

anything = st.text(st.characters(codec=None), max_size=60) | st.binary(max_size=60)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (None, ""),
        ("", ""),
        ("plain text", "plain text"),
        ("Zürich 東京", "Zürich 東京"),
        ("नमस्ते", "नमस्ते"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b2J", r"\u009b2J"),
        ("one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("abc\u202edcba", r"abc\u202edcba"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\u2028", r"\u2028"),
        (r"C:\x1b", r"C:\\x1b"),
        ("\ud800", r"\ud800"),
        (b"\xff\xfeab", r"\xff\xfeab"),
        ("Z" + "\u0301" * 4, "Z\u0301\u0301" + r"\u0301\u0301"),
        ("[red]markup[/red]", "[red]markup[/red]"),
    ],
)
def test_what_steers_a_terminal_is_written_out(said: str | bytes | None, shown: str) -> None:
    assert escaped(said) == shown


@settings(deadline=None)
@given(anything)
def test_whatever_it_is_it_becomes_one_printable_line(said: str | bytes) -> None:
    assert escaped(said).isprintable()


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_texts_that_differ_look_different(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


@settings(deadline=None)
@given(st.text(max_size=1_000) | st.binary(max_size=1_000), st.integers(1, 50))
def test_long_texts_are_cut_and_say_so(said: str | bytes, longest: int) -> None:
    shown = escaped(said, longest)
    assert len(shown) <= 10 * longest + len("… (1,000 more)")
    length = len(said.decode(errors="surrogateescape") if isinstance(said, bytes) else said)
    assert ("… (" in shown) >= (length > longest and "… (" not in repr(said))


def test_a_huge_value_is_not_read_to_its_end() -> None:
    assert escaped(b"x" * 10_000_000, 10) == "xxxxxxxxxx… (9,999,990 more)"


@settings(deadline=None)
@given(st.text(st.characters(codec=None), max_size=40))
def test_quoted_texts_are_printable_json_of_the_same_text(text: str) -> None:
    shown = quoted(text)
    assert shown.isprintable()
    assert json.loads(shown) == json.loads(json.dumps(text))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(st.characters(codec=None), max_size=20)))
def test_json_is_printable_ascii_and_says_the_same(data: dict[str, str]) -> None:
    shown = safe_json(data)
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(shown) == json.loads(json.dumps(data))


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("東京", 4), ("é", 1), ("e\u0301", 1)])
def test_a_text_is_as_wide_as_a_terminal_shows_it(text: str, columns: int) -> None:
    assert width(text) == columns
