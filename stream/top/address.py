"""Where a worker is, and fetching its page from there."""

from __future__ import annotations

import http.client
import zlib
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from stream.core.errors import RetryError, StopError

#: Longer pages are cut off; 15,000 series take about 1.5 MB.
_MOST_BYTES = 256 * 1024 * 1024
#: What ``zlib`` calls the gzip format.
_GZIP = 16 + zlib.MAX_WBITS
_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = 9464


class Unreachable(RetryError):
    """No page could be had from the address; the message is one line for the user."""


class BadAddress(StopError):
    """What was given is no address; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a worker's pages."""

    host: str = _DEFAULT_HOST
    port: int = _DEFAULT_PORT
    secure: bool = False
    path: str = "/metrics"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``9464``, ``host``, ``host:port`` or ``http[s]://host[:port][/path]``.

        Raises BadAddress.
        """
        if text.isascii() and text.isdigit():
            text = f"{_DEFAULT_HOST}:{text}"
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port
        except ValueError:
            raise BadAddress(f"{text!r} is no address: its port must be 1 to 65535") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise BadAddress(f"{text!r} is no address such as 127.0.0.1:9464 or http://host:9464")
        secure = parts.scheme == "https"
        if port is None:
            port = 443 if secure else 80 if "://" in text else _DEFAULT_PORT
        path = parts.path.rstrip("/") or "/metrics"
        return cls(parts.hostname, port, secure, path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"

    def fetch(self, timeout: float) -> str:
        """The page's text. Raises Unreachable after ``timeout`` seconds without an answer."""
        status, words, text = self._get(self.path, timeout)
        if status != http.HTTPStatus.OK:
            raise Unreachable(f"{self}{self.path} answers {status} {words}")
        return text

    def why_not_ready(self, timeout: float) -> str | None:
        """What ``/readyz`` beside the page gives as the reason; None where it gives none."""
        if not self.path.endswith("/metrics"):
            return None
        try:
            status, _, text = self._get(f"{self.path.removesuffix('/metrics')}/readyz", timeout)
        except Unreachable:
            return None
        reason = text.strip().partition("\n")[0].removeprefix("not ready: ")
        return reason if status == http.HTTPStatus.SERVICE_UNAVAILABLE and reason else None

    def _get(self, path: str, timeout: float) -> tuple[int, str, str]:
        """Status, its words, and the text of a page. Raises Unreachable."""
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
            response = connection.getresponse()
            body = response.read(_MOST_BYTES)
            if response.getheader("Content-Encoding") == "gzip":
                body = _unzipped(body)
            # The page of an error may be anything: its status says what is wrong.
            errors = "strict" if response.status == http.HTTPStatus.OK else "replace"
            return response.status, response.reason, body.decode(errors=errors)
        except TimeoutError:
            raise Unreachable(f"{self} does not answer within {timeout:g} s") from None
        except OSError as error:
            nobody = Unreachable(f"{self} cannot be reached: {error.strerror or error}")
            nobody.remedy = "start `cxkpi worker`, or give the ADDRESS of one that runs"
            raise nobody from error
        except (http.client.HTTPException, EOFError, zlib.error, UnicodeError) as error:
            raise Unreachable(f"{self} gives no readable answer: {error!r}") from error
        finally:
            connection.close()


def _unzipped(body: bytes) -> bytes:
    """As much of a compressed page as may be read: a short one can hold any number of bytes.

    Raises:
        EOFError, zlib.error: it is damaged or cut off.
    """
    page = zlib.decompressobj(_GZIP)
    found = page.decompress(body, _MOST_BYTES)
    if not page.eof and not page.unconsumed_tail:
        raise EOFError("the page is cut off")
    return found
