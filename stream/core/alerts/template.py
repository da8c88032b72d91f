"""Summaries with fields, such as ``{value} in {region}``, filled in for each change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from stream.core.errors import StopError

#: Fields of every summary. The labels of the rule's rollup are fields too, of the same names.
FIELDS: Final = (
    "rule",
    "severity",
    "state",
    "kpi",
    "window",
    "labels",
    "value",
    "lower",
    "upper",
    "n",
    "threshold",
    "baseline",
    "since",
    "trend",
)

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class BadTemplate(StopError, ValueError):
    """A brace that stands alone."""


def fields_of(template: str) -> list[str]:
    """The names in braces, in order; doubled braces are braces.

    Raises:
        BadTemplate: a brace opens or closes nothing.
    """
    return [name for _, name in _tokens(template) if name is not None]


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its fields filled in; a field without value is empty.

    Raises:
        BadTemplate: a brace opens or closes nothing.
    """
    return "".join(
        text if name is None else values.get(name, "") for text, name in _tokens(template)
    )


def _tokens(template: str) -> Iterator[tuple[str, str | None]]:
    """Plain text, or the name of a field."""
    for token in _TOKEN.finditer(template):
        text = token[0]
        if text in {"{", "}"}:
            raise BadTemplate(f'"{text}" stands alone; a brace that is meant is doubled')
        if token[1] is not None:
            yield "", token[1].strip()
        else:
            yield {"{{": "{", "}}": "}"}.get(text, text), None
