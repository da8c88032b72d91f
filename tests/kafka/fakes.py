"""What stands in for the parts of a shard that talk to a broker."""

from __future__ import annotations

from collections.abc import Iterable

from stream.kafka.log import Outgoing


class KeptWriter:
    """Keeps transactions instead of writing them."""

    def __init__(self, *_: object) -> None:
        self.written: list[list[Outgoing]] = []

    async def write(self, records: Iterable[Outgoing]) -> None:
        self.written.append(list(records))

    async def stop(self) -> None: ...


class DecidedRegistry:
    """A registry of values that has nothing to decide."""

    is_behind = False

    async def settle(self) -> None: ...
