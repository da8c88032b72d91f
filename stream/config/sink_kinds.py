"""The types of sinks: which keys each takes, and which addresses. A new one is added here.

What a sink does stands in ``stream.sinks``, whose catalogue has the same types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from stream.config.fields import ADDRESS, is_address

#: Where apprise only posts to a server, so that its address may stand in the file.
PLAIN: Final = ("json", "jsons", "form", "forms", "xml", "xmls")
_ANY_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_APPRISE_WORDS: Final = (
    "an address of apprise, such as mailtos://… or pagerduty://…"
    " (https://appriseit.com/services/ lists them)"
)


def _no_address(address: str) -> str | None:
    return None if is_address(address) else ADDRESS.words


def _no_root(address: str) -> str | None:
    if not is_address(address):
        return ADDRESS.words
    parts = urlsplit(address)
    if parts.query or parts.fragment or "/api/" in parts.path:
        return "Alertmanager's root, such as http://127.0.0.1:9093; /api/v2/alerts is added"
    return None


def _none_of_apprise(address: str) -> str | None:
    return None if _ANY_SCHEME.fullmatch(address) else _APPRISE_WORDS


def _nothing(address: str) -> str | None:
    del address
    return None


def _of_slack(address: str) -> str | None:
    if (urlsplit(address).hostname or "").endswith("slack.com"):
        return "Slack's address is a secret; use url_env or url_file"
    return None


def _of_apprise(address: str) -> str | None:
    if address.partition("://")[0].lower() in PLAIN:
        return None
    return (
        "the address may hold a secret; use url_env or url_file"
        f" (allowed in the file: {', '.join(PLAIN)})"
    )


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A type of sinks."""

    #: Whether it needs an address.
    has_address: bool = True
    #: Whether it takes a secret beside the address.
    has_secret: bool = False
    #: Whether that goes into a header, in the place of a login in the address.
    is_token: bool = False
    #: Whether what fires is told to it again and again.
    is_refreshed: bool = False
    #: What it needs instead of an address, without that; None where it will do.
    refused: Callable[[str], str | None] = _no_address
    #: Why an address that will do may not stand in the file; None where it may.
    private: Callable[[str], str | None] = _nothing


#: By the key ``type``.
SINK_KINDS: Final[Mapping[str, SinkKind]] = {
    "log": SinkKind(has_address=False),
    "webhook": SinkKind(has_secret=True),
    "slack": SinkKind(private=_of_slack),
    "alertmanager": SinkKind(has_secret=True, is_token=True, is_refreshed=True, refused=_no_root),
    "apprise": SinkKind(refused=_none_of_apprise, private=_of_apprise),
}
SINK_TYPES: Final = list(SINK_KINDS)
