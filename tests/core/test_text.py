"""Texts that anybody may have chosen are shown on one line, and no longer than there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.text import clipped, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("EMEA", "EMEA"),
        ("Łódź 東京", "Łódź 東京"),
        ("two\nlines", "two\ufffdlines"),
        ("\x1b[31mred", "\ufffd[31mred"),
        ("\u202eright to left", "\ufffdright to left"),
        ("no\u00a0break", "no\ufffdbreak"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_what_a_terminal_would_act_on_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()), st.sampled_from(["?", "", "\ufffd"]))
def test_any_text_is_printable_and_what_was_printable_stays(text: str, instead: str) -> None:
    shown = printable(text, instead)
    assert shown.isprintable()
    assert [c for c in text if c.isprintable()] == [
        c for c in printable(text, "") if c.isprintable()
    ]
    assert len(shown) == len(text) or instead == ""


@given(st.text(max_size=20), st.integers(1, 25))
def test_a_clipped_text_is_as_long_as_allowed_and_says_that_it_was_cut(
    text: str, most: int
) -> None:
    shown = clipped(text, most)
    assert len(shown) == min(len(text), most)
    assert shown == text or (shown[-1] == "…" and text.startswith(shown[:-1]))
