"""What a member of the group hears of the group's coordinator, and how it leaves the group."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiokafka.client import ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

#: What is answered when all other members have asked the same, or their leader has.
_SHARED: Final = (JoinGroupRequest, SyncGroupRequest)
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
        """Note what is answered to a consumer's coordinator, which is the client's part of it.

        And have it leave the group at once when it is closed: by itself it first waits for what is
        answered when all others have joined.
        """
        send: Callable[[Any], Coroutine[Any, Any, Any]] = coordinator._send_req  # noqa: SLF001

        async def noting(request: Any) -> Any:
            answer = await (
                _until_closing(coordinator, send(request))
                if isinstance(request, _SHARED)
                else send(request)
            )
            if said := _helpless(answer):
                self._helpless, self.helpless_at = said, time.monotonic()
            return answer

        coordinator._send_req = noting  # noqa: SLF001
        dead: Callable[[], None] = coordinator.coordinator_dead

        def unless_closing() -> None:
            # What fails then is what was given up, and the goodbye goes to the same coordinator.
            if not coordinator._closing.done():  # noqa: SLF001
                dead()

        coordinator.coordinator_dead = unless_closing


async def _until_closing(coordinator: Any, sending: Coroutine[Any, Any, Any]) -> Any:
    """What is answered, unless the coordinator is closed meanwhile.

    Raises:
        KafkaError: there is no answer.
    """
    closing = coordinator._closing  # noqa: SLF001
    task = asyncio.ensure_future(sending)
    try:
        await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
    finally:
        task.cancel()
    # A broker answers what comes over a connection one by one, so the goodbye takes another.
    place = coordinator.coordinator_id, ConnectionGroup.COORDINATION
    if (connection := coordinator._client._conns.get(place)) is not None:  # noqa: SLF001
        connection.close(reason=CloseReason.SHUTDOWN)
    if coordinator.member_id and coordinator.generation <= 0:
        # The client says no goodbye where its first join was not answered, though others wait for
        # a member by then.
        coordinator.generation = 1
    raise KafkaConnectionError("the group is left while others are waited for")


def _helpless(answer: Any) -> str:
    """That the coordinator can't do the group's work, as it says so; empty where it can."""
    # What concerns offsets is answered for each partition, with the code at the end.
    codes = [
        each[-1] for _, partitions in getattr(answer, "topics", None) or () for each in partitions
    ]
    codes.append(getattr(answer, "error_code", 0))
    return next((_HELPLESS[code] for code in codes if code in _HELPLESS), "")
