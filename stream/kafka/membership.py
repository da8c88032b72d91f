"""What a member of the group hears of the group's coordinator."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

#: What a coordinator answers that can't do the group's work: it can't write what the group is to
#: remember, has not read that yet, or is none any more.
_HELPLESS: Final = {
    error.errno: error.message
    for error in (
        GroupLoadInProgressError,
        GroupCoordinatorNotAvailableError,
        NotCoordinatorForGroupError,
    )
}


class Membership:
    """A consumer's place in its group. Others may look at it from other threads."""

    def __init__(self) -> None:
        #: When the coordinator last said that it can't do the group's work (monotonic seconds).
        self.helpless_at = 0.0
        self._helpless = ""

    def helpless_since(self, then: float) -> str:
        """Kafka's word for why the coordinator can't do the group's work; empty unless it said so.

        ``then`` is in monotonic seconds.
        """
        return self._helpless if self.helpless_at > then else ""

    def follow(self, coordinator: Any) -> None:
        """Note what is answered to a consumer's coordinator, which is the client's part of it."""
        send: Callable[[Any], Awaitable[Any]] = coordinator._send_req  # noqa: SLF001

        async def noting(request: Any) -> Any:
            answer = await send(request)
            if said := _helpless(answer):
                self._helpless, self.helpless_at = said, time.monotonic()
            return answer

        coordinator._send_req = noting  # noqa: SLF001


def _helpless(answer: Any) -> str:
    """That the coordinator can't do the group's work, as it says so; empty where it can."""
    # What concerns offsets is answered for each partition, with the code at the end.
    codes = [
        each[-1] for _, partitions in getattr(answer, "topics", None) or () for each in partitions
    ]
    codes.append(getattr(answer, "error_code", 0))
    return next((_HELPLESS[code] for code in codes if code in _HELPLESS), "")
