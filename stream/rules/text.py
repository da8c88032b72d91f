"""Names and sentences of exported rules: alert names, Go templates, values in their units."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

from stream.core.alerts.template import FIELDS, filled
from stream.core.settings import Rule
from stream.metrics.scraping import unscraped
from stream.rules.promql import Series

#: Stands for an action of a Go template while the text around it is made literal.
_ACTION: Final = "\ue000{}\ue001"
#: What would open an action, or be taken for a part of one that follows.
_OPENING: Final = re.compile(r"\{\{|\{(?=\ue000)")


def literal(text: str) -> str:
    """A text that a Go template, which labels and annotations are, leaves as it is."""
    return _OPENING.sub(lambda brace: f'{{{{ "{brace[0]}" }}}}', text)


def alert_name(rule: str, taken: Collection[str]) -> str:
    """The name of a rule in CamelCase, with a number where another alert has it already."""
    plain = unicodedata.normalize("NFKD", rule).encode("ascii", "ignore").decode()
    name = "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9]+", plain))
    if not name or name[0].isdigit():
        name = f"Rule{name}"
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free


def shown_value(unit: str) -> str:
    """The template of ``$value`` in a unit of KPIs."""
    match unit:
        case "ratio":
            return "{{ $value | humanizePercentage }}"
        case "seconds":
            return "{{ $value | humanizeDuration }}"
        case "currency":
            return "{{ $value | humanize }}"
        case _:
            return '{{ $value | printf "%.4g" }}'


def where(labels: Iterable[str]) -> str:
    """Words for the labels of a series, as a template: `` for region {{ $labels.region }}``."""
    listed = ", ".join(f"{name} {{{{ $labels.{name} }}}}" for name in labels)
    return f" for {listed}" if listed else ""


def summary(rule: Rule, series: Series, limit: str) -> str:
    """The rule's summary as a template; fields that Prometheus can't know are ``unknown``.

    ``limit`` are words for the threshold.
    """
    actions = [
        shown_value(series.watched.unit),
        *(f"{{{{ $labels.{name} }}}}" for name in series.labels),
    ]
    marks = [_ACTION.format(number) for number in range(len(actions))]
    of_labels = dict(zip(series.labels, marks[1:], strict=True))
    values = {
        **{unscraped(name): mark for name, mark in of_labels.items()},
        **dict.fromkeys(FIELDS, "unknown"),
        "rule": rule.name,
        "severity": rule.severity,
        "state": "firing",
        "kpi": rule.kpi,
        "window": rule.window,
        "threshold": limit,
        "value": marks[0],
        "labels": ", ".join(f"{name} {mark}" for name, mark in of_labels.items()),
    }
    text = literal(filled(rule.summary, values))
    for mark, action in zip(marks, actions, strict=True):
        text = text.replace(mark, action)
    return text
