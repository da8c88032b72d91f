"""Dead letters for tests."""

from __future__ import annotations

import orjson

from stream.core.timestamps import format_ms, parse
from stream.deadletters.headers import LEFT_OUT, Header, Source, refusal_headers
from stream.deadletters.letter import Letter, letter

NOW = parse("2026-03-02T10:00:00Z")


def visit(number: int = 1, **more: object) -> bytes:
    """A good event, unless ``more`` says otherwise."""
    event = {"event_id": f"e{number}", "type": "visit.ended", "visit_id": f"v{number}"}
    return orjson.dumps({**event, "occurred_at": format_ms(NOW), **more})


def refused(
    offset: int = 0,
    *,
    topic: str = "cx.visit",
    partition: int = 0,
    at: int = NOW,
    key: bytes | None = b"k",
    value: bytes | None = None,
    outcome: str = "invalid",
    field: str = "pages",
    reason: str = "is wrong",
    more: tuple[Header, ...] = (),
    group: str = "g",
    left_out: str = "",
) -> Letter:
    """A dead letter as our worker writes it."""
    headers: tuple[Header, ...] = (
        *more,
        *refusal_headers(
            Source(topic, partition, offset + 1_000),
            "VALUE_CONVERTER",
            f"{field}: {reason}",
            outcome=outcome,
            field=field,
            reason=reason,
            group=group,
        ),
        *([(LEFT_OUT, left_out.encode())] if left_out else []),
    )
    return letter(topic, partition, offset, at, key, value, headers)
