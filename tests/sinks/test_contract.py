"""What every sink does, whatever it talks to; a new sink of the catalogue is tested by itself."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import trustme

from stream.config.sink_kinds import SINK_KINDS, SINK_TYPES
from stream.sinks.catalogue import SINKS, build
from stream.sinks.http import seconds
from stream.sinks.sink import Rejected, Retry, Sink, SinkError, UnknownSink
from tests.sinks.receiver import (
    Answer,
    FakeSettings,
    Hidden,
    change,
    endless,
    hang,
    hang_up,
    receiver,
    status,
)

EVERY = sorted(SINKS)
#: Sinks that post to an address.
POSTING = [name for name in EVERY if SINK_KINDS[name].has_address]
#: Those that see the whole answer; apprise tells the status alone, and reads answers to their end.
READING = [name for name in POSTING if name != "apprise"]
SECRET = "k3y-of-the-hook"  # what no error may show


def address(kind: str, url: str) -> str:
    """Where this kind of sink reaches an HTTP server."""
    return url.replace("http:", "json:") if kind == "apprise" else url


def sink(kind: str, url: str, timeout_ms: int = 60_000) -> Sink:
    endpoint = Hidden(address(kind, url)) if kind in POSTING else None
    return build(FakeSettings(kind, endpoint, Hidden(SECRET), timeout_ms))


def open_sessions() -> set[int]:
    """The connections to HTTP servers that nobody has closed."""
    every = [one for one in gc.get_objects() if isinstance(one, aiohttp.ClientSession)]
    return {id(one) for one in every if not one.closed}


def content(body: bytes) -> bytes:
    """A body without the time at which what it tells ends by itself."""
    return re.sub(rb'"endsAt":"[^"]+"', b"", body)


async def failure(kind: str, answers: Sequence[Answer]) -> SinkError:
    """How one delivery to a receiver that gives these answers fails."""
    async with receiver(answers) as it:
        to = sink(kind, it.url)
        try:
            with pytest.raises(SinkError) as caught:
                await to.deliver(change())
        finally:
            await to.close()
        assert len(it.bodies) == 1
    return caught.value


#: Time-outs (ms) for a receiver that hangs: the longer ones where the machine was so busy that the
#: request did not even arrive within a shorter one.
TIMEOUTS = (1_000, 10_000, 60_000)


class Tried(NamedTuple):
    """What a receiver got, and why each change is worth another try: None where it was taken."""

    bodies: list[bytes]
    said: list[str | None]
    timeout_ms: int


async def tried(kind: str, answers: Sequence[Answer], timeout_ms: int) -> Tried:
    """A change for each of the answers."""
    said: list[str | None] = []
    async with receiver(answers) as it:
        to = sink(kind, it.url, timeout_ms)
        for _ in answers:
            try:
                await to.deliver(change())
                said.append(None)
            except Retry as error:
                said.append(str(error))
        await to.close()
    return Tried(it.bodies, said, timeout_ms)


async def tried_in_time(
    kind: str, answers: Sequence[Answer], in_time: Callable[[Tried], bool]
) -> Tried:
    """The same, with longer time-outs until it was in time."""
    for timeout_ms in TIMEOUTS[:-1]:
        found = await tried(kind, answers, timeout_ms)
        if in_time(found):
            return found
    return await tried(kind, answers, TIMEOUTS[-1])


@pytest.mark.parametrize("kind", EVERY)
async def test_a_change_is_told_once_and_in_order(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiver() as it:
        to = sink(kind, it.url)
        for number in range(3):
            await to.deliver(change(number=number, explanation=f"Reason {number}."))
        await to.close()
        told = [body.decode() for body in it.bodies] or capsys.readouterr().err.splitlines()
    assert len(told) == 3
    for number, text in enumerate(told):
        assert f"Reason {number}." in text


@pytest.mark.parametrize("kind", EVERY)
async def test_a_sink_that_was_closed_leaves_nothing_open_and_can_be_used_again(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its worker's turn ends and comes again with the assignments of the group."""
    async with receiver() as it:
        to = sink(kind, it.url)
        for number in range(2):
            before = open_sessions()
            await to.deliver(change(number=number))
            await to.close()
            assert open_sessions() <= before
        told = it.bodies or capsys.readouterr().err.splitlines()
    assert len(told) == 2


@pytest.mark.parametrize("kind", EVERY)
async def test_a_sink_that_was_never_used_closes_and_closes_again(kind: str) -> None:
    to = sink(kind, "http://127.0.0.1:9/")
    await to.close()
    await to.close()


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("kind", POSTING)
async def test_an_answer_that_may_change_is_worth_another_try(kind: str, code: int) -> None:
    error = await failure(kind, [status(code)])
    assert isinstance(error, Retry)
    assert str(error) == f"answer {code}"
    assert error.after is None


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 413, 422])
@pytest.mark.parametrize("kind", POSTING)
async def test_an_answer_that_stays_is_a_refusal(kind: str, code: int) -> None:
    error = await failure(kind, [status(code, Retry_After="1")])
    assert isinstance(error, Rejected)
    assert str(error) == f"answer {code}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", POSTING)
async def test_a_redirect_is_not_followed(kind: str, code: int) -> None:
    async with receiver() as elsewhere:
        error = await failure(kind, [status(code, Location=elsewhere.url)])
        assert elsewhere.bodies == []
    assert isinstance(error, Rejected)


@pytest.mark.parametrize("kind", POSTING)
async def test_no_cookie_of_a_receiver_is_kept(kind: str) -> None:
    async with receiver([status(200, Set_Cookie="seen=1; Path=/")]) as it:
        # There are no cookies of numeric addresses.
        to = sink(kind, it.url.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            await to.deliver(change())
        await to.close()
    assert [headers.get("Cookie") for headers in it.headers] == [None, None]


@pytest.mark.parametrize("kind", READING)
async def test_a_receiver_says_how_long_to_wait(kind: str) -> None:
    error = await failure(kind, [status(429, Retry_After="7")])
    assert isinstance(error, Retry)
    assert error.after == 7


@pytest.mark.parametrize("kind", POSTING)
async def test_a_receiver_that_hangs_is_left_after_the_timeout(kind: str) -> None:
    found = await tried_in_time(kind, [hang], lambda found: bool(found.bodies))
    assert len(found.bodies) == 1
    assert found.said == [f"no answer within {found.timeout_ms // 1_000} s"]


@pytest.mark.parametrize("kind", POSTING)
async def test_a_receiver_that_hangs_up_is_worth_another_try(kind: str) -> None:
    assert isinstance(await failure(kind, [hang_up]), Retry)


@pytest.mark.parametrize("kind", POSTING)
async def test_nobody_listening_is_worth_another_try(kind: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        to = sink(kind, f"http://127.0.0.1:{free.getsockname()[1]}/")
        with pytest.raises(Retry, match=r"^no answer \(connection refused\)$|it was not taken"):
            await to.deliver(change())
        await to.close()


@pytest.mark.parametrize("kind", READING)
async def test_an_answer_without_end_is_an_answer(kind: str) -> None:
    async with receiver([endless]) as it:
        to = sink(kind, it.url)
        await to.deliver(change())
        await to.close()


@pytest.mark.parametrize("kind", POSTING)
async def test_a_sink_works_again_after_any_failure(kind: str) -> None:
    def in_time(found: Tried) -> bool:
        return len(found.bodies) == len(found.said) and found.said[-1] is None

    answers = [hang_up, status(500), hang, status(204)]
    found = await tried_in_time(kind, answers, in_time)
    assert [one is None for one in found.said] == [False, False, False, True]
    assert list(map(content, found.bodies)) == [content(found.bodies[0])] * 4


@pytest.mark.parametrize("kind", POSTING)
@pytest.mark.parametrize("answer", [status(500), status(404), status(302, Location="x"), hang_up])
async def test_no_error_shows_address_or_secret(kind: str, answer: Answer) -> None:
    error = await failure(kind, [answer])
    shown = f"{error!r} {error} {error.__cause__!r}"
    assert "s3cret-path" not in shown
    assert SECRET not in shown
    assert error.__suppress_context__ or error.__context__ is None


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    await reader.read(100)
    writer.write(b"\x00\x01 rubbish\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("kind", POSTING)
async def test_an_answer_that_is_no_http_is_worth_another_try(kind: str) -> None:
    async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        to = sink(kind, f"http://127.0.0.1:{port}/s3cret-path")
        with pytest.raises(Retry) as caught:
            await to.deliver(change())
        await to.close()
    assert "s3cret-path" not in str(caught.value)


@pytest.mark.parametrize(
    ("is_tls", "said"), [(True, "its certificate is refused: "), (False, "no TLS: ")]
)
@pytest.mark.parametrize("kind", READING)
async def test_a_connection_that_is_not_secure_is_told_apart(
    kind: str, is_tls: bool, said: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    tls = context if is_tls else None
    async with await asyncio.start_server(garbage, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        to = sink(kind, f"https://localhost:{port}/s3cret-path")
        with pytest.raises(Retry) as caught:
            await to.deliver(change())
        await to.close()
    assert said in str(caught.value)
    assert "not permitted" not in str(caught.value)


#: Secrets wherever an address can hold them.
EVERYWHERE = "{scheme}://us3r-s3cret:p4ss-s3cret@{host}/p4th-s3cret?q=qu3ry-s3cret"


@pytest.mark.parametrize("kind", POSTING)
@pytest.mark.parametrize("answer", [status(200), status(404), status(503), hang_up])
async def test_no_log_shows_a_secret_at_any_level(
    kind: str, answer: Answer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    async with receiver([answer]) as it:
        host = it.url.split("/")[2]
        url = EVERYWHERE.format(scheme="http", host=host)
        # A login in the address and a token exclude each other.
        token = None if kind == "alertmanager" else Hidden(SECRET)
        to = build(FakeSettings(kind, Hidden(address(kind, url)), token))
        with suppress(SinkError):
            await to.deliver(change())
        await to.close()
        assert len(it.bodies) == 1
    shown = caplog.text + "".join(capfd.readouterr())
    for secret in ("us3r-s3cret", "p4ss-s3cret", "p4th-s3cret", "qu3ry-s3cret", SECRET):
        assert secret not in shown


@pytest.mark.parametrize("kind", POSTING)
async def test_an_address_that_is_none_is_refused_without_being_shown(kind: str) -> None:
    async def used() -> None:
        to = sink(kind, "http://[s3cret-path")
        try:
            await to.deliver(change())
        finally:
            await to.close()

    with pytest.raises((Rejected, UnknownSink)) as caught:
        await used()
    assert "s3cret-path" not in str(caught.value)


@pytest.mark.parametrize("kind", POSTING)
def test_a_sink_that_posts_needs_an_address(kind: str) -> None:
    with pytest.raises(UnknownSink, match=f"my-{kind}: url is missing"):
        build(FakeSettings(kind))


def test_the_configuration_takes_every_type_and_the_page_tells_of_it() -> None:
    assert list(SINKS) == SINK_TYPES
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    assert [kind for kind in SINKS if f"| `{kind}` |" not in page] == []


def test_an_unknown_type_is_refused_with_the_types_there_are() -> None:
    with pytest.raises(UnknownSink, match='my-pager: type "pager" is not one of log, webhook, '):
        build(FakeSettings("pager"))


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("0", 0),
        (" 120 ", 120),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("٣", None),
        ("9" * 5_000, 999_999_999),
        ("Mon, 99 Foo 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(
    header: str | None, expected: float | None
) -> None:
    assert seconds(header, NOW) == expected
