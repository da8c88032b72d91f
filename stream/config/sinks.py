"""Rules for a sink's keys, as its type has them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from stream.config.model import SinkConfig
from stream.config.sink_kinds import SINK_KINDS


def contradictions(sink: SinkConfig) -> Iterator[tuple[str, str]]:
    """Yield the keys that are wrong, and why."""
    kind = SINK_KINDS[sink.type]
    urls = [k for k in ("url", "url_env", "url_file") if getattr(sink, k) is not None]
    secrets = [k for k in ("secret_env", "secret_file") if getattr(sink, k) is not None]
    if not kind.has_address:
        for key in urls + secrets:
            yield key, f"a {sink.type} takes none"
    elif not urls:
        yield "url", f"is missing; {_a(sink.type)} needs url, url_env or url_file"
    if kind.has_address and not kind.has_secret:
        for key in secrets:
            yield key, f"{_a(sink.type)} sink takes none: its address is the secret"
    if "refresh_ms" in sink.model_fields_set and not kind.is_refreshed:
        forgetful = ", ".join(name for name, k in SINK_KINDS.items() if k.is_refreshed)
        yield "refresh", f"{_a(sink.type)} takes none; only {forgetful} forgets what fires"
    if sink.url is not None and kind.has_address:
        reason = _not_for_the_file(sink.type, sink.url.get_secret_value())
        if reason:
            yield "url", reason
    for key in urls[1:]:
        yield key, f"only one of url, url_env, url_file is allowed; {urls[0]} is there already"
    for key in secrets[1:]:
        yield key, "only one of secret_env, secret_file is allowed"


def has_login(address: str) -> bool:
    """Whether an address holds a name or a password."""
    try:
        return "@" in urlsplit(address).netloc
    except ValueError:
        return True


def _not_for_the_file(of_type: str, address: str) -> str | None:
    kind = SINK_KINDS[of_type]
    if words := kind.refused(address):
        return f"must be {words}"
    if has_login(address):
        return "a password does not belong in the file; use url_env or url_file"
    return kind.private(address)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] == "a" else f"a {kind}"
