"""A file of Prometheus rules as data, as YAML and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import wrap
from typing import Any, Final

from stream.core.text import printable

#: Comments are wrapped at this column.
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """One alerting rule. ``notes`` say where it differs from the rule that it stands for."""

    alert: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    #: Durations as Prometheus writes them; None where there is none.
    for_: str | None = None
    keep_firing_for: str | None = None
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        more = {
            "for": self.for_,
            "keep_firing_for": self.keep_firing_for,
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
        }
        return {"alert": self.alert, "expr": self.expr} | {k: v for k, v in more.items() if v}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule of the configuration that Prometheus can't express, and why."""

    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates together, in this order."""

    name: str
    rules: tuple[AlertingRule, ...]
    #: How often; None leaves it to Prometheus' own configuration.
    interval: str | None = None
    comment: str = ""

    def plain(self) -> dict[str, Any]:
        """The group as Prometheus reads it."""
        head: dict[str, Any] = {"name": self.name}
        if self.interval is not None:
            head["interval"] = self.interval
        return {**head, "rules": [rule.plain() for rule in self.rules]}


@dataclass(frozen=True, slots=True)
class Document:
    """A file of rules."""

    groups: tuple[Group, ...]
    comment: str = ""
    left_out: tuple[LeftOut, ...] = field(default=())

    @property
    def rules(self) -> Iterator[AlertingRule]:
        """All rules, in their order."""
        for group in self.groups:
            yield from group.rules

    def plain(self) -> dict[str, Any]:
        """The document as data: ``groups`` as Prometheus reads them, and what to know of them."""
        return {
            "groups": [group.plain() for group in self.groups],
            "left_out": [{"rule": one.rule, "reason": one.reason} for one in self.left_out],
            "notes": [
                {"alert": rule.alert, "note": note} for rule in self.rules for note in rule.notes
            ],
        }

    def yaml(self) -> str:
        """The document as a YAML file, with notes and what is left out as comments."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _comment(self.comment)
        for one in self.left_out:
            yield from _comment(f"Left out: {one.rule}: {one.reason}.")
        yield "groups:" if self.groups else "groups: []"
        for group in self.groups:
            yield from _comment(group.comment, 2)
            yield f"  - name: {quoted(group.name)}"
            if group.interval is not None:
                yield f"    interval: {group.interval}"
            yield "    rules:" if group.rules else "    rules: []"
            for rule in group.rules:
                yield from _rule(rule)


def _rule(rule: AlertingRule) -> Iterator[str]:
    """The lines of one rule."""
    plain = rule.plain()
    yield f"      - alert: {quoted(rule.alert)}"
    for note in rule.notes:
        yield from _comment(note, 8)
    yield "        expr: |-"
    yield from (f"          {line}" for line in rule.expr.splitlines())
    for key in ("for", "keep_firing_for"):
        if key in plain:
            yield f"        {key}: {plain[key]}"
    for key in ("labels", "annotations"):
        if key in plain:
            yield f"        {key}:"
            yield from (f"          {name}: {quoted(text)}" for name, text in plain[key].items())


def _comment(text: str, indent: int = 0) -> Iterator[str]:
    margin = " " * indent
    for paragraph in text.splitlines():
        lines = wrap(printable(paragraph), _WIDTH - indent - 2, break_long_words=False) or [""]
        yield from (f"{margin}# {line}".rstrip() for line in lines)


def quoted(text: str) -> str:
    """A text as a double-quoted YAML scalar on one line, whatever it holds (YAML 1.2, 5.7)."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
