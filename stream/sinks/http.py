"""Posting to a receiver that may fail, hang, redirect or ask for patience."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from stream import __version__
from stream.sinks.causes import cause
from stream.sinks.sink import Rejected, Retry, SinkSettings, UnknownSink

#: Answers after which it may work later; so may it after any 5xx.
PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
#: Of what an answer says no more is read, in bytes.
_LONGEST_WORD: Final = 64


class Poster:
    """Posts to one address, with one connection pool, without following redirects."""

    def __init__(self, settings: SinkSettings, path: str = "", said: Collection[str] = ()) -> None:
        """``path`` is added to the address. Of what answers say only ``said`` is repeated."""
        if settings.endpoint is None:
            raise UnknownSink(f"sink {settings.name}: url is missing")
        self._url = _below(settings.endpoint.get_secret_value(), path)
        self._said = said
        self._timeout = aiohttp.ClientTimeout(total=settings.timeout_ms / 1_000)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Post a body; any answer 2xx will do, whatever it says.

        Raises:
            Retry: no answer in time, no connection, or an answer that may change.
            Rejected: any other answer; a redirect too, since the address is what was checked.
        """
        try:
            async with self._open().post(
                self._url, data=body, headers=dict(headers), allow_redirects=False
            ) as answer:
                failed = not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES
                word = await self._word(answer) if failed else ""
                if failed:
                    after = seconds(answer.headers.get("Retry-After"), time.time())
                    raise failure(answer.status, word, after)
        except (aiohttp.InvalidURL, UnicodeError):
            # The message would hold the address, which may be a secret.
            raise Rejected("the url is not valid") from None
        except TimeoutError:
            raise Retry(f"no answer within {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retry(f"no answer ({cause(error)})") from None

    async def _word(self, answer: aiohttp.ClientResponse) -> str:
        """What an answer says, if it is one of the words that may be repeated."""
        if not self._said:
            return ""
        word = (await answer.content.read(_LONGEST_WORD)).decode(errors="replace").strip()
        return f" ({word})" if word in self._said else ""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"cxkpi/{__version__}"},
            )
        return self._session


def failure(status: int, word: str = "", after: float | None = None) -> Retry | Rejected:
    """What an answer that is no success means.

    ``word`` is what it says, ``after`` how many seconds it asks to wait.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in PASSING:
        return Retry(f"answer {status}{word}", after)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Rejected(f"answer {status}; redirects are not followed")
    return Rejected(f"answer {status}{word}")


def _below(address: str, path: str) -> str:
    """The address with a path added to its own."""
    if not path:
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return address  # It is refused when it is used.
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def seconds(retry_after: str | None, now: float) -> float | None:
    """How long a ``Retry-After`` header asks to wait: a number of seconds, or an HTTP date.

    ``now`` is the time in seconds since the epoch. None where there is no header or no sense in it.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        # More digits would be no patience that anyone has; int() of a long text is slow.
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None
