"""Lines that can't be sent are named in words, with the place in the line."""

from __future__ import annotations

import pytest

from stream.replay.recorded import Unsendable, address


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b" \n", "a blank line"),
        (b"[1, 2\n", r"not JSON: .+ \(column \d+\)"),
        (b"nonsense\n", r"not JSON: .+ \(column \d+\)"),
        (b'{"type": "\xff"}\n', "is not UTF-8"),
        (b"[]\n", "no event type"),
        (b'{"type": "hello"}\n', "no event type: 'hello'"),
    ],
)
def test_a_line_that_belongs_to_no_topic_is_told_in_words(line: bytes, said: str) -> None:
    with pytest.raises(Unsendable, match=f"^{said}$"):
        address(line)
