"""Slack's incoming webhooks: a message in Block Kit, coloured by severity.

The address is the secret. https://api.slack.com/messaging/webhooks tells of the answers,
https://api.slack.com/reference/block-kit/blocks of the limits.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from stream.core.alerts import Change
from stream.core.text import clipped
from stream.sinks.http import Poster
from stream.sinks.sink import SinkSettings
from stream.sinks.wording import contributors, facts, headline, links

#: Colours of firing alerts by severity; other severities look like warnings.
COLOURS: Final = {"critical": "#a30200", "warning": "#daa038", "info": "#439fe0"}
RESOLVED: Final = "#2eb886"
#: What Slack answers to what it will never take, said with the status. Other words of an answer
#: are not repeated: something before Slack may have written them.
SAID: Final = frozenset(
    {
        "action_prohibited",
        "channel_is_archived",
        "channel_not_found",
        "invalid_blocks",
        "invalid_payload",
        "invalid_token",
        "no_active_hooks",
        "no_service",
        "no_service_id",
        "no_team",
        "no_text",
        "posting_to_general_channel_denied",
        "rate_limited",
        "rollup_error",
        "team_disabled",
        "too_many_attachments",
        "user_not_found",
    }
)
#: Slack's limits in characters: a section's text, one of its fields, and where messages are cut.
_LONGEST_SECTION: Final = 3_000
_LONGEST_FIELD: Final = 2_000
_LONGEST_TEXT: Final = 4_000
_LONGEST_LINK: Final = 1_000
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Slack:
    """Posts each change as one message."""

    def __init__(self, settings: SinkSettings) -> None:
        self._poster = Poster(settings, said=SAID)

    async def deliver(self, change: Change) -> None:
        """Post the message."""
        body = msgspec.json.encode(message(change))
        await self._poster.post(body, {"Content-Type": "application/json; charset=utf-8"})

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


def message(change: Change) -> dict[str, Any]:
    """The message: a line for notifications, and an attachment with all that is known."""
    colour = COLOURS.get(change.severity, COLOURS["warning"])
    return {
        "text": escaped(f"[{headline(change)}]", _LONGEST_TEXT),
        "attachments": [
            {
                "color": RESOLVED if change.to == "resolved" else colour,
                "fallback": escaped(change.explanation or headline(change), _LONGEST_TEXT),
                "blocks": list(_blocks(change)),
            }
        ],
    }


def _blocks(change: Change) -> list[dict[str, Any]]:
    said = [text for text in (change.summary, change.explanation) if text]
    blocks = [_section(escaped(text, _LONGEST_SECTION)) for text in said]
    fields = [f"*{name}*\n{escaped(value, 500)}" for name, value in facts(change)]
    blocks.append(
        {"type": "section", "fields": [_text(clipped(f, _LONGEST_FIELD)) for f in fields]}
    )
    if moved := contributors(change):
        listed = "\n".join(f"• {escaped(line, 400)}" for line in moved)
        blocks.append(_section(f"*Moved most by*\n{listed}"))
    if linked := [_link(name, address) for name, address in links(change)]:
        blocks.append(_section(" · ".join(linked)))
    blocks.append({"type": "context", "elements": [_text(f"{change.changed_at} · {change.id}")]})
    return blocks


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    # Verbatim: nothing in a label becomes a link or wakes up a channel.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _link(name: str, address: str) -> str:
    """A link; one that is too long for Slack is told of instead."""
    safe = quote(address, safe="/:?#[]@!$&'()*+,;=%~-._")
    return f"<{safe}|{name}>" if len(safe) <= _LONGEST_LINK else f"{name}: its address is too long"


def escaped(text: str, most: int) -> str:
    """The text for Slack's markup with at most ``most`` characters, no entity cut in two."""
    parts = [_ENTITIES.get(c, c) for c in text]
    if sum(map(len, parts)) <= most:
        return "".join(parts)
    kept, length = [], 0
    for part in parts:
        length += len(part)
        if length >= most:
            break
        kept.append(part)
    return "".join(kept) + "…"
