"""What services get through apprise, and that a service that hangs holds up nothing."""

from __future__ import annotations

import asyncio
import email
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from email.message import Message
from typing import Any

import msgspec
import pytest

from stream.core.alerts import Change, Contributor, Target
from stream.sinks.apprise import LOCAL, MOST_UNDERWAY, Apprise, unusable
from stream.sinks.sink import Rejected, Retry, SinkError, UnknownSink
from tests.sinks.receiver import FakeSettings, Hidden, change, hang, hang_up, receiver, status


def sink(url: str, timeout_ms: int = 60_000) -> Apprise:
    address = url.replace("http:", "json:")
    return Apprise(FakeSettings("apprise", Hidden(address), timeout_ms=timeout_ms))


async def told(one: Change) -> dict[str, Any]:
    """What a service got."""
    async with receiver() as it:
        await sink(it.url).deliver(one)
    body: dict[str, Any] = json.loads(it.bodies[0])
    return body


async def test_a_message_says_all_that_is_known() -> None:
    one = msgspec.structs.replace(
        change(),
        summary="Customers are unhappy",
        runbook_url="http://wiki/csat",
        contributors=(Contributor({"channel": "web"}, -0.08, 0.2, 10, 50),),
    )
    body = await told(one)
    assert body["title"] == "FIRING CsatLow, critical, region eu"
    assert body["message"].splitlines() == [
        "Customers are unhappy",
        "It is worse.",
        "",
        "KPI: Customer satisfaction over 5m",
        "Value: 40%",
        "95% interval: 30% to 50%",
        "n: 100",
        "Threshold: 50%",
        "Since: 2026-05-04T08:00:00Z",
        "",
        "Moved most by",
        "- channel web: -8 points, now 20%",
        "",
        "Runbook: http://wiki/csat",
        "",
        f"2026-05-04T08:00:05Z {one.id}",
    ]


async def test_what_labels_say_calls_nobody() -> None:
    one = msgspec.structs.replace(
        change(),
        labels={"region": "@channel"},
        runbook_url="http://me@wiki/csat",
        contributors=(Contributor({"channel": "<@all>"}, -0.08, 0.2, 10, 50),),
    )
    body = await told(one)
    lines = [body["title"], *body["message"].splitlines()]
    called = [line for line in lines if re.search(r"@(?!\u200b)", line)]
    assert called == ["Runbook: http://me@wiki/csat"]
    assert sum("@\u200b" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("severity", "to", "kind"),
    [
        ("critical", "firing", "failure"),
        ("warning", "firing", "warning"),
        ("page", "firing", "warning"),
        ("info", "firing", "info"),
        ("critical", "resolved", "success"),
    ],
)
async def test_the_type_follows_the_severity(severity: str, to: Target, kind: str) -> None:
    body = await told(msgspec.structs.replace(change(to), severity=severity))
    assert body["type"] == kind


@asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[int, list[Message]]]:
    """A server that takes mail, its port, and what came in."""
    mails: list[Message] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).strip().upper():
            if line == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                mails.append(email.message_from_bytes(data))
            writer.write(b"221 bye\r\n" if line == b"QUIT" else b"250 fine\r\n")
            if line == b"QUIT":
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], mails


async def test_a_mail_is_sent_and_nothing_in_it_is_markup() -> None:
    one = change(explanation="<b>Worse</b> & worse.")
    async with mail_server() as (port, mails):
        address = (
            f"mailto://127.0.0.1:{port}?from=cx@example.org&to=ops@example.org"
            "&mode=insecure&format=html"
        )
        await Apprise(FakeSettings("apprise", Hidden(address))).deliver(one)
    (mail,) = mails
    assert mail["Subject"] == "FIRING CsatLow, critical, region eu"
    assert "ops@example.org" in mail["To"]
    parts = {part.get_content_type(): part for part in mail.walk()}
    html = parts["text/html"].get_payload(decode=True)
    assert isinstance(html, bytes)
    assert b"&lt;b&gt;Worse&lt;/b&gt;" in html


async def test_messages_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, sent = threading.Event(), []

    def send(body: str, title: str, kind: str) -> tuple[bool, int | None]:
        sent.append(title)
        answers.wait()
        return True, None

    monkeypatch.setattr("stream.sinks.apprise._sender", lambda *_: send)
    to = sink("http://127.0.0.1:9/", timeout_ms=50)
    try:
        for _ in range(4):
            with pytest.raises(Retry, match="no answer within"):
                await to.deliver(change())
        with pytest.raises(Retry, match="4 messages are still underway"):
            await to.deliver(change())
        assert len(sent) <= 4
    finally:
        answers.set()
    # There is room again as soon as they have ended.
    async with asyncio.timeout(60):
        while len(sent) < 5:
            with suppress(Retry):
                await to.deliver(change())
            await asyncio.sleep(0.01)


async def test_a_service_that_hangs_is_not_left_before_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Apprise would by itself read for 4 s, which is too long to wait here.
    monkeypatch.setattr("apprise.URLBase.socket_read_timeout", 0.01)
    async with receiver([hang]) as it:
        with pytest.raises(Retry, match=r"^no answer within 0\.5 s$"):
            await sink(it.url, timeout_ms=500).deliver(change())


async def test_several_messages_are_sent_one_after_the_other() -> None:
    async with receiver() as it:
        to = sink(it.url)
        many = MOST_UNDERWAY * 2
        await asyncio.gather(*(to.deliver(change(number=n)) for n in range(many)))
        assert len(it.bodies) == many


def with_two_targets(url: str) -> Apprise:
    """A sink of which apprise sends each message twice."""
    return Apprise(FakeSettings("apprise", Hidden(url.replace("http:", "ntfy:"))))


async def test_no_message_waits_for_the_pace_that_apprise_has_for_a_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    async with receiver() as it:
        await with_two_targets(it.url).deliver(change())
    assert (len(it.bodies), waits) == (2, [])


HANGING = """
import asyncio, sys
from tests.sinks.test_apprise import change, sink

try:
    asyncio.run(sink(sys.argv[1], 100).deliver(change()))
except Exception as error:
    print(error)
"""


async def test_a_message_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    async with receiver([hang]) as it:
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", HANGING, it.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.stdout.strip() == "no answer within 0.1 s", ended.stderr


@pytest.mark.parametrize("scheme", sorted(LOCAL))
def test_what_only_this_machine_would_see_is_refused(scheme: str) -> None:
    assert "tells nobody but this machine" in (unusable(f"{scheme}://") or "")
    with pytest.raises(UnknownSink, match="apprise can't use the address"):
        Apprise(FakeSettings("apprise", Hidden(f"{scheme}://s3cret")))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("json://host/path", None),
        ("mailtos://me:pass@example.org", None),
        ("slak://s3cret", 'unknown scheme "slak"; did you mean "slack"? allowed: those of'),
        ("s3cret://host", "unknown scheme; allowed: those of"),
        ("slack://s3cret", "apprise can't use it: a part of a slack:// address is missing"),
        ("file:///s3cret", "unknown scheme"),
    ],
)
def test_an_address_is_judged_without_being_shown(address: str, reason: str | None) -> None:
    said = unusable(address)
    assert (said or "").startswith(reason or "")
    assert (said is None) == (reason is None)
    assert "s3cret" not in (said or "")


async def test_a_service_that_refuses_is_told_apart_from_one_that_fails() -> None:
    async with receiver([status(410), status(503)]) as it:
        with pytest.raises(Rejected, match="answer 410"):
            await sink(it.url).deliver(change())
        with pytest.raises(Retry, match="answer 503"):
            await sink(it.url).deliver(change())


@pytest.mark.parametrize(
    ("codes", "kind", "said"),
    [
        ((503, 404), Retry, "answer 503"),
        ((404, 503), Retry, "answer 503"),
        ((500, 503), Retry, "answer 503"),
        ((200, 503), Retry, "answer 503"),
        ((200, 404), Rejected, "answer 404"),
        ((404, 410), Rejected, "answer 410"),
        ((404, None), Retry, "it was not taken"),
        ((None, 404), Retry, "it was not taken"),
    ],
)
async def test_of_several_targets_one_that_may_take_it_later_decides(
    codes: Sequence[int | None], kind: type[SinkError], said: str
) -> None:
    async with receiver([hang_up if code is None else status(code) for code in codes]) as it:
        with pytest.raises(kind, match=f"^{said}$"):
            await with_two_targets(it.url).deliver(change())
    assert len(it.bodies) == 2
