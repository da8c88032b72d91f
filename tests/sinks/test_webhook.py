"""What a webhook's receiver gets."""

from __future__ import annotations

import hashlib
import hmac
import json

from stream import __version__
from stream.sinks.webhook import IDEMPOTENCY, SIGNATURE, Webhook
from tests.sinks.receiver import FakeSettings, Hidden, Receiver, change, receiver


async def received(secret: str | None) -> Receiver:
    async with receiver() as it:
        settings = FakeSettings("webhook", Hidden(it.url), Hidden(secret) if secret else None)
        to = Webhook(settings)
        await to.deliver(change())
        await to.close()
    return it


async def test_the_body_is_the_change_as_json() -> None:
    it = await received(None)
    body = json.loads(it.bodies[0])
    assert it.paths == ["/hook/s3cret-path"]
    assert (body["rule"], body["from"], body["to"]) == ("CsatLow", "inactive", "firing")
    assert body["labels"] == {"region": "eu"}
    assert body["changed_at"] == "2026-05-04T08:00:05Z"
    assert it.headers[0]["Content-Type"] == "application/json"
    assert it.headers[0]["User-Agent"] == f"cxkpi/{__version__}"


async def test_the_id_lets_a_receiver_tell_what_it_has_seen() -> None:
    it = await received(None)
    assert it.headers[0][IDEMPOTENCY] == json.loads(it.bodies[0])["id"]


async def test_a_secret_signs_the_very_bytes_of_the_body() -> None:
    it = await received("key €")
    expected = hmac.new("key €".encode(), it.bodies[0], hashlib.sha256).hexdigest()
    assert it.headers[0][SIGNATURE] == f"sha256={expected}"


async def test_without_a_secret_nothing_is_signed() -> None:
    it = await received(None)
    assert SIGNATURE not in it.headers[0]
