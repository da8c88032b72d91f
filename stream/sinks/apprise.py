"""Everything else: e-mail, Teams, PagerDuty, Opsgenie, ntfy and many more through ``apprise``.

Apprise blocks, so each message goes out in a thread of its own. It says whether a service took a
message, and in its log, where one answered, the status; neither its log nor that of its HTTP
client is shown, since both hold addresses.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from stream.core.alerts import Change
from stream.core.text import clipped
from stream.sinks.http import failure
from stream.sinks.sink import Retry, SinkSettings, UnknownSink
from stream.sinks.wording import contributors, facts, headline, links

#: Schemes that do something on this machine rather than tell somebody.
LOCAL: Final = frozenset(
    {"blink1", "dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows"}
)
#: So many messages may be underway: one at a time, and those that nobody waits for any more.
MOST_UNDERWAY: Final = 4
#: Apprise's names of how bad a message is, by severity; other severities are warnings.
KINDS: Final = {"critical": "failure", "warning": "warning", "info": "info"}
_SERVICES: Final = "those of https://appriseit.com/services/"
_LONGEST_BODY: Final = 8_000
_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
#: What its plugins say of a service that has not answered.
_UNANSWERED: Final = re.compile(r"\bconnection error\b", re.IGNORECASE)
#: Loggers of the libraries underneath, whose lines hold addresses.
_TALKATIVE: Final = ("urllib3", "requests", "requests_oauthlib", "oauthlib")


class Apprise:
    """Sends each change as a message with a title."""

    def __init__(self, settings: SinkSettings) -> None:
        if settings.endpoint is None:
            raise UnknownSink(f"sink {settings.name}: url is missing")
        self._timeout = settings.timeout_ms / 1_000
        send = _sender(settings.endpoint.get_secret_value(), self._timeout)
        if send is None:
            raise UnknownSink(f"sink {settings.name}: apprise can't use the address")
        self._send = send
        self._underway = 0
        #: Apprise does not say whether a service may be used by several threads at a time. So the
        #: next message waits for an answer; only one that has timed out may still go on beside it.
        self._turn = asyncio.Lock()

    async def deliver(self, change: Change) -> None:
        """Send the message."""
        kind = "success" if change.to == "resolved" else KINDS.get(change.severity, "warning")
        text, title = _body(change), _calling_nobody(headline(change))
        async with self._turn:
            if self._underway >= MOST_UNDERWAY:
                raise Retry(f"{self._underway} messages are still underway")
            sent = self._in_a_thread(lambda: self._send(text, title, kind))
            try:
                taken, status = await asyncio.wait_for(asyncio.shield(sent), self._timeout)
            except TimeoutError:
                raise Retry(f"no answer within {self._timeout:g} s") from None
        if not taken:
            raise Retry("it was not taken") if status is None else failure(status)

    async def close(self) -> None:
        """There is nothing to close: threads end with their message, or with the process."""

    def _in_a_thread(self, work: Callable[[], tuple[bool, int | None]]) -> asyncio.Future[Any]:
        """Run in a thread that ends with the process, which a hanging service must not hold up."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()
        self._underway += 1

        def done(outcome: tuple[bool, int | None]) -> None:
            self._underway -= 1
            if not result.done():
                result.set_result(outcome)

        def run() -> None:
            try:
                outcome = work()
            except Exception:  # noqa: BLE001 - any of a hundred plugins; its words may be secret.
                outcome = (False, None)
            try:
                loop.call_soon_threadsafe(done, outcome)
            except RuntimeError:
                return  # The loop is closed: nobody waits any more.

        threading.Thread(target=run, name="apprise", daemon=True).start()
        return result


def unusable(address: str) -> str | None:
    """Why nothing can be sent to an address, without showing it; None where something can."""
    scheme = address.partition("://")[0].lower()
    if scheme in LOCAL:
        return f"{scheme}:// tells nobody but this machine; allowed: {_SERVICES}"
    if _sender(address, 1.0) is not None:
        return None
    from apprise.manager_plugins import NotificationManager

    manager: Any = NotificationManager
    known = set(manager().schemas()) - LOCAL
    if scheme in known:
        return f"apprise can't use it: a part of a {scheme}:// address is missing or wrong"
    near = difflib.get_close_matches(scheme, sorted(known), n=1)
    # Without one that is near, what stands in a scheme's place may be a secret.
    meant = f' "{scheme}"; did you mean "{near[0]}"?' if near else ";"
    return f"unknown scheme{meant} allowed: {_SERVICES}"


def _sender(
    address: str, timeout: float
) -> Callable[[str, str, str], tuple[bool, int | None]] | None:
    """What sends body, title and kind to an address; None where apprise can't use it."""
    logging.getLogger("apprise").propagate = False
    logging.getLogger("apprise").setLevel(logging.WARNING)
    # It takes a while to import, which a worker without such a sink need not wait for.
    import apprise

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if address.partition("://")[0].lower() in LOCAL:
        return None
    # No time-outs of its own, for which it would use threads that the end of the process awaits.
    asset = apprise.AppriseAsset(
        app_id="cxkpi",
        app_desc="cxkpi",
        app_url="",
        async_mode=False,
        http_redirects=False,
        service_timeout=0,
        allow_templates=False,
    )
    service = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if service is None:
        return None
    # A little longer than we wait, so that it is known which of the two has run out.
    service.socket_connect_timeout = service.socket_read_timeout = timeout + 1
    # It would wait in the thread; we try again by ourselves when a service wants less.
    service.request_rate_per_sec = 0
    sending = apprise.Apprise(asset=asset)
    sending.add(service)

    def send(body: str, title: str, kind: str) -> tuple[bool, int | None]:
        result: Any = sending.notify(
            body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
        )
        return bool(result), _decisive([entry.message for entry in result.logs()])

    return send


def _decisive(said: Sequence[str]) -> int | None:
    """The status to act upon where an address has several targets, or was tried several times.

    One that may change, so that no target goes without because another has refused. None where a
    target has not answered, or no status is told.
    """
    if any(map(_UNANSWERED.search, said)):
        return None
    statuses = [int(match[1]) for match in map(_STATUS.search, said) if match]
    passing = [status for status in statuses if isinstance(failure(status), Retry)]
    return next(reversed(passing or statuses), None)


def _body(change: Change) -> str:
    said = [text for text in (change.summary, change.explanation) if text]
    said += ["", *(f"{name}: {value}" for name, value in facts(change))]
    if moved := contributors(change):
        said += ["", "Moved most by", *(f"- {line}" for line in moved)]
    said = list(map(_calling_nobody, said))
    if linked := links(change):
        said += ["", *(f"{name}: {address}" for name, address in linked)]
    return clipped("\n".join([*said, "", f"{change.changed_at} {change.id}"]), _LONGEST_BODY)


def _calling_nobody(text: str) -> str:
    """The text with a character without width after each ``@``.

    Labels hold what producers send. Many services take ``@all`` for a call to everybody, and not
    all plugins escape it.
    """
    return text.replace("@", "@\u200b")
