"""A dead letter: a record that was refused, as it lies in ``<topic>.dlq``, with the reason."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from stream.core.timestamps import format_ms
from stream.deadletters.headers import (
    FIELD,
    GROUP,
    LEFT_OUT,
    MESSAGE,
    OUTCOME,
    REASON,
    SOURCE_OFFSET,
    SOURCE_PARTITION,
    Header,
    own,
)

#: The topic of alert changes, without prefix. A change that a sink could not be told is a dead
#: letter too, but only to look at: sent again it would go to all sinks.
ALERT_TOPIC: Final = "cx.alert"
#: Counts how often a record was sent again. The worker keeps it with the record's own headers: its
#: name does not begin like the headers that say why a record was refused.
REDRIVEN: Final = "cxkpi-redriven"
#: The outcome of a record that lies among the dead letters without one: not from our worker.
UNKNOWN: Final = "unknown"
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. ``topic`` is the source topic without prefix, such as ``cx.visit``."""

    topic: str
    #: Partition and offset in the dead-letter topic.
    partition: int
    offset: int
    #: When it was refused, in ms.
    at: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    outcome: str
    field: str
    reason: str
    #: Where the record lies in its source topic; None where no header says so.
    source_partition: int | None
    source_offset: int | None
    #: How often it had been sent again before it was refused.
    rounds: int
    #: The group whose worker wrote it; empty where no header says so, as in letters of old.
    group: str
    #: Why the record's key and value are not in the letter; empty where they are.
    left_out: str

    @property
    def name(self) -> str:
        """What ``cxkpi dlq show`` takes: ``cx.visit/2/17``."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def target(self) -> int:
        """The partition of the source topic that it goes back to: the one that it came from.

        There are the other records of its key, whatever its producer made of the key.
        """
        return self.partition if self.source_partition is None else self.source_partition

    @property
    def source(self) -> str:
        """Where the record lies, in words."""
        if self.source_offset is None:
            return "unknown"
        return f"{self.topic}, partition {self.target}, offset {self.source_offset}"

    def is_of(self, group: str) -> bool:
        """Whether a group wrote it, or may have, since it does not say which did."""
        return self.group in ("", group)

    def own_headers(self) -> list[Header]:
        """The headers that the record came with, without what this module adds to them."""
        return [header for header in own(self.headers) if header[0] != REDRIVEN]

    def headers_again(self) -> list[Header]:
        """The headers to send it again with: its own, and how often it has been sent again then."""
        return [*self.own_headers(), (REDRIVEN, b"%d" % (self.rounds + 1))]

    def row(self, *, redriven: bool | None) -> dict[str, Any]:
        """The letter in short, for JSON; ``redriven``: whether this letter was sent again,
        None where that is not known.
        """
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "at": format_ms(self.at),
            "outcome": self.outcome,
            "field": self.field,
            "reason": self.reason,
            "source_partition": self.source_partition,
            "source_offset": self.source_offset,
            "rounds": self.rounds,
            "redriven": redriven,
            "group": self.group or None,
            "left_out": self.left_out or None,
            **as_json("key", self.key),
        }

    def full_row(self, *, redriven: bool | None, rule: str) -> dict[str, Any]:
        """All of the letter, for JSON."""
        return {
            **self.row(redriven=redriven),
            "rule": rule,
            **as_json("value", self.value),
            "headers": [{"name": name, **as_json("value", v)} for name, v in self.own_headers()],
        }


def letter(
    topic: str,
    partition: int,
    offset: int,
    at: int,
    key: bytes | None,
    value: bytes | None,
    headers: tuple[Header, ...],
) -> Letter:
    """A record of a dead-letter topic, read; whatever its headers hold."""
    said = {name: (text or b"").decode(errors="replace") for name, text in headers}
    return Letter(
        topic,
        partition,
        offset,
        at,
        key,
        value,
        headers,
        said.get(OUTCOME) or UNKNOWN,
        said.get(FIELD, ""),
        said.get(REASON) or said.get(MESSAGE, ""),
        _number(said.get(SOURCE_PARTITION)),
        _number(said.get(SOURCE_OFFSET)),
        _number(said.get(REDRIVEN)) or 0,
        said.get(GROUP, ""),
        said.get(LEFT_OUT, ""),
    )


def _number(text: str | None) -> int | None:
    fits = text is not None and len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()
    return int(text) if fits and text is not None else None


def as_json(name: str, value: bytes | None) -> dict[str, str | None]:
    """Bytes under ``name`` where they are text, else null there and base64 under another."""
    if value is None:
        return {name: None}
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {name: None, f"{name}_base64": base64.b64encode(value).decode()}
