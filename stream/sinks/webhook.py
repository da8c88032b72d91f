"""A webhook: the change as JSON, signed where there is a secret."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from stream.core.alerts import Change
from stream.sinks.http import Poster
from stream.sinks.sink import SinkSettings

#: ``sha256=`` and the HMAC-SHA256 of the body in hexadecimal, with the secret as key.
SIGNATURE = "X-Cxkpi-Signature-256"
#: The change's id: a receiver that has seen it need not act again.
IDEMPOTENCY = "Idempotency-Key"


class Webhook:
    """Posts each change as one JSON document, the same as the record of the alert topic."""

    def __init__(self, settings: SinkSettings) -> None:
        self._poster = Poster(settings)
        self._secret = settings.secret

    async def deliver(self, change: Change) -> None:
        """Post the change."""
        body = msgspec.json.encode(change)
        headers = {"Content-Type": "application/json", IDEMPOTENCY: change.id}
        if self._secret is not None:
            headers[SIGNATURE] = signature(body, self._secret.get_secret_value())
        await self._poster.post(body, headers)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


def signature(body: bytes, secret: str) -> str:
    """The signature of a body, as in the header."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
