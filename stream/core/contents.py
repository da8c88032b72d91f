"""What a compacted log holds, and a mark that tells it from what another holds.

A log that was made anew, or has lost records, may still hold the latest of them, which says by its
mark what should be there.
"""

from __future__ import annotations

from typing import Final

import xxhash

#: How many keys there are, and what they and their versions come to.
Mark = tuple[int, int]

_hash: Final = xxhash.xxh3_64_intdigest


class Contents:
    """The keys that are in a log, each with its version: what its latest record is or says."""

    def __init__(self) -> None:
        self._versions: dict[bytes, int] = {}
        self._digest = 0

    def __contains__(self, key: bytes) -> bool:
        return key in self._versions

    @property
    def mark(self) -> Mark:
        """Tells these contents from others."""
        return len(self._versions), self._digest

    def put(self, key: bytes, version: int) -> None:
        """Note that a key is written."""
        self.drop(key)
        self._versions[key] = version
        self._digest ^= _hash(key, seed=version)

    def drop(self, key: bytes) -> None:
        """Note that a key is deleted, if it is there."""
        version = self._versions.pop(key, None)
        if version is not None:
            self._digest ^= _hash(key, seed=version)

    def note(self, key: bytes, value: bytes | None) -> None:
        """Note a record, whose value is its version; without one the key is deleted."""
        if value is None:
            self.drop(key)
        else:
            self.put(key, _hash(value))
