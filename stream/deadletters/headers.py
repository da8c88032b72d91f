"""The headers of a dead letter: why its record was refused, by whom, and where that lies.

They have Kafka Connect's names, which other tools know, and our own for what these can't say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

Header = tuple[str, bytes | None]

SOURCE_TOPIC: Final = "__connect.errors.topic"
SOURCE_PARTITION: Final = "__connect.errors.partition"
SOURCE_OFFSET: Final = "__connect.errors.offset"
STAGE: Final = "__connect.errors.stage"
MESSAGE: Final = "__connect.errors.exception.message"
OUTCOME: Final = "cxkpi.outcome"
FIELD: Final = "cxkpi.field"
REASON: Final = "cxkpi.reason"
#: The group that wrote a dead letter or a change of an alert: several groups may share the topic.
GROUP: Final = "cxkpi.group"
#: The outcome of a change of an alert that a sink did not take.
UNDELIVERED: Final = "undelivered"
#: Says why a letter does not hold its record: too large to be copied, or not to be read.
LEFT_OUT: Final = "cxkpi.left_out"
#: Headers that say why a record was refused begin so; what is sent again goes without them.
REFUSAL_PREFIXES: Final = ("__connect.errors.", "cxkpi.")
#: Texts are cut after so many characters: they may hold what was sent.
_LONGEST: Final = 1_000


class Source(NamedTuple):
    """Where the record lies."""

    topic: str
    partition: int
    offset: int


def refusal_headers(
    source: Source,
    stage: str,
    message: str,
    *,
    outcome: str,
    field: str,
    reason: str,
    group: str,
) -> list[tuple[str, bytes]]:
    """Why a record was refused; ``stage`` and ``message`` are what Kafka Connect would say.

    ``group`` is the one whose worker refused it.
    """
    said = {
        SOURCE_TOPIC: source.topic,
        SOURCE_PARTITION: str(source.partition),
        SOURCE_OFFSET: str(source.offset),
        STAGE: stage,
        MESSAGE: message,
        OUTCOME: outcome,
        FIELD: field,
        REASON: reason,
        GROUP: group,
    }
    # A text may hold any character that JSON can write, so also a half of one.
    return [(name, text[:_LONGEST].encode(errors="replace")) for name, text in said.items()]


def is_of(headers: Iterable[Header], group: str) -> bool:
    """Whether a group wrote a record, or may have: it does not say which, as before there was one.

    Of several headers the last counts, which is that of who wrote it.
    """
    named = dict(headers).get(GROUP)
    return not named or named == group.encode()


def own(headers: Iterable[Header]) -> list[Header]:
    """The headers that a record came with, without those of a refusal."""
    return [header for header in headers if not header[0].startswith(REFUSAL_PREFIXES)]


def of_refusal(headers: Iterable[Header]) -> list[Header]:
    """The headers of a refusal alone."""
    return [header for header in headers if header[0].startswith(REFUSAL_PREFIXES)]
