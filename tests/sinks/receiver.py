"""A real HTTP server on loopback that answers as it is told, and what sinks are made of here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from stream.core.alerts import Change, Target

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def saying(code: int, text: str, **headers: str) -> Answer:
    """Answer with a status and words; ``Retry_After="1"`` is the header ``Retry-After: 1``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers=named, text=text)

    return answer


def status(code: int, **headers: str) -> Answer:
    """Answer with a status, as ``saying`` does."""
    return saying(code, "words", **headers)


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """Answer with a body that has no end."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b"x" * 65_536)


@dataclass
class Receiver:
    """What came in, and the answers in order; the last one is repeated."""

    url: str = ""
    answers: list[Answer] = field(default_factory=lambda: [status(200)])
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.read())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


@asynccontextmanager
async def receiver(answers: Iterable[Answer] = ()) -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    it = Receiver()
    it.answers = list(answers) or it.answers
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", it.handle)
    # What still hangs when the test is over is cancelled at once.
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cret-path"
    try:
        yield it
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class Hidden:
    """A secret as the configuration holds it."""

    text: str

    def get_secret_value(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "**********"


@dataclass(frozen=True)
class FakeSettings:
    """A sink's configuration."""

    type: str
    endpoint: Hidden | None = None
    secret: Hidden | None = None
    #: Long, since what a test does not let hang may still be slow.
    timeout_ms: int = 60_000
    retry_for_ms: int = 600_000
    refresh_ms: int = 60_000

    @property
    def name(self) -> str:
        return f"my-{self.type}"


def change(to: Target = "firing", number: int = 1, explanation: str = "It is worse.") -> Change:
    """A change to tell."""
    return Change(
        id=f"{number:032x}",
        rule="CsatLow",
        from_="firing" if to == "resolved" else "inactive",
        to=to,
        severity="critical",
        kpi="csat",
        window="5m",
        labels={"region": "eu"},
        value=0.4,
        lower=0.3,
        upper=0.5,
        numerator=40,
        denominator=100,
        threshold=0.5,
        started_at="2026-05-04T08:00:00Z",
        changed_at="2026-05-04T08:00:05Z",
        explanation=explanation,
    )
