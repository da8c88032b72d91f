"""Rules for a sink's keys, and which addresses each type takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from stream.config.fields import ADDRESS, is_address
from stream.config.model import SinkConfig

#: Where apprise only posts to a server, so that its address may stand in the file.
PLAIN: Final = ("json", "jsons", "form", "forms", "xml", "xmls")
#: Types that take a secret beside the address.
_WITH_SECRET: Final = ("webhook", "alertmanager")
_ANY_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_APPRISE_WORDS: Final = (
    "an address of apprise, such as mailtos://… or pagerduty://…"
    " (https://appriseit.com/services/ lists them)"
)


def contradictions(sink: SinkConfig) -> Iterator[tuple[str, str]]:
    """Yield the keys that are wrong, and why."""
    urls = [k for k in ("url", "url_env", "url_file") if getattr(sink, k) is not None]
    secrets = [k for k in ("secret_env", "secret_file") if getattr(sink, k) is not None]
    if sink.type == "log":
        for key in urls + secrets:
            yield key, "a log takes none"
    elif not urls:
        yield "url", f"is missing; {_a(sink.type)} needs url, url_env or url_file"
    if sink.type in ("slack", "apprise"):
        for key in secrets:
            yield key, f"{_a(sink.type)} sink takes none: its address is the secret"
    if "refresh_ms" in sink.model_fields_set and sink.type != "alertmanager":
        yield "refresh", f"{_a(sink.type)} takes none; only alertmanager forgets what fires"
    here = None if sink.url is None or sink.type == "log" else sink.url.get_secret_value()
    if here is not None and (reason := _not_for_the_file(sink.type, here)):
        yield "url", reason
    for key in urls[1:]:
        yield key, f"only one of url, url_env, url_file is allowed; {urls[0]} is there already"
    for key in secrets[1:]:
        yield key, "only one of secret_env, secret_file is allowed"


def refused(kind: str, address: str) -> str | None:
    """What a sink of this type needs instead of an address, without it; None where it will do."""
    if kind == "apprise":
        return None if _ANY_SCHEME.fullmatch(address) else _APPRISE_WORDS
    if not is_address(address):
        return ADDRESS.words
    if kind == "alertmanager":
        parts = urlsplit(address)
        if parts.query or parts.fragment or "/api/" in parts.path:
            return "Alertmanager's root, such as http://127.0.0.1:9093; /api/v2/alerts is added"
    return None


def has_login(address: str) -> bool:
    """Whether an address holds a name or a password."""
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return True


def _not_for_the_file(kind: str, address: str) -> str | None:
    if words := refused(kind, address):
        return f"must be {words}"
    if has_login(address):
        return "a password does not belong in the file; use url_env or url_file"
    if kind == "slack" and (urlsplit(address).hostname or "").endswith("slack.com"):
        return "Slack's address is a secret; use url_env or url_file"
    if kind == "apprise" and address.partition("://")[0].lower() not in PLAIN:
        return (
            "the address may hold a secret; use url_env or url_file"
            f" (allowed in the file: {', '.join(PLAIN)})"
        )
    return None


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] == "a" else f"a {kind}"
