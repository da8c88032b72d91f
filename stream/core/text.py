"""Texts that anybody may have chosen, made fit to be shown."""

from __future__ import annotations


def printable(text: str, instead: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """The text on one line, without anything that a terminal would act on.

    ``instead`` stands for each character that can't be shown; it may be empty. What was there can't
    be told from the result: for that see ``stream.core.escape``.
    """
    return "".join(c if c.isprintable() else instead for c in text)


def clipped(text: str, most: int) -> str:
    """The text with at most ``most`` characters (≥ 1); one that was cut ends in an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
