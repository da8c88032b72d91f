"""A text that is compressed once, whatever is put after it."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import Final

#: The head of a gzip file (RFC 1952) that says nothing of its origin.
_HEAD: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
#: Nobody waits noticeably while less than this is compressed, in bytes.
_SOON: Final = 1 << 16
_WEIGHT_OF_NONE: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def takes_gzip(accepted: str) -> bool:
    """Whether the header ``Accept-Encoding`` names gzip, with another weight than 0 (RFC 9110)."""
    codings = (coding.partition(";") for coding in accepted.lower().split(","))
    weights = [weight for name, _, weight in codings if name.strip() == "gzip"]
    return any(not _WEIGHT_OF_NONE.fullmatch(weight) for weight in weights)


class Zipped:
    """Compresses a text when it is first wanted, and keeps that."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._kept: bytes | None = None
        self._check = 0
        self._one_at_a_time = asyncio.Lock()

    async def followed_by(self, rest: bytes) -> list[bytes]:
        """The parts of one gzip file of the text and the rest.

        It has one member, as some readers take no more.
        """
        async with self._one_at_a_time:
            if self._kept is None:
                if len(self.text) < _SOON:
                    self._compress()
                else:
                    await asyncio.to_thread(self._compress)
        end = zlib.crc32(rest, self._check), (len(self.text) + len(rest)) % 2**32
        tail = b"".join(number.to_bytes(4, "little") for number in end)
        return [self._kept or b"", _deflated(rest, zlib.Z_FINISH) + tail]

    def _compress(self) -> None:
        self._check = zlib.crc32(self.text)
        # What follows a full flush need not know what is before it.
        self._kept = _HEAD + _deflated(self.text, zlib.Z_FULL_FLUSH)


def _deflated(text: bytes, end: int) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(text) + deflate.flush(end)
