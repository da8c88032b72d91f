"""A client for work on topics and groups that gets along where one of several brokers is down."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    StaleMetadata,
    for_code,
)

from stream.kafka.connection import calm

#: How long to wait before the brokers that there are then are asked, in seconds.
_BACKOFF: Final = 0.2
#: How long one of several brokers has to answer, in seconds.
_SOON: Final = 3.0
#: Nothing has reached the broker.
_NOT_SENT: Final = (NodeNotReadyError, StaleMetadata)
#: Nobody has answered, and what any broker may be asked can be asked twice.
_UNANSWERED: Final = (*_NOT_SENT, KafkaConnectionError, RequestTimedOutError)


class AdminClient(AIOKafkaAdminClient):  # type: ignore[misc]
    """The client's questions to any broker go to the next one where a broker does not answer.

    By itself it fails with the first that is down, and waits for a controller that is gone. The
    others list a dead broker for as long as its session lasts, which is 9 s by default.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        calm(self._client)

    async def _send_request(self, request: Any, node_id: int | None = None) -> Any:
        if node_id is not None:
            answer = await super()._send_request(request, node_id)
            # The client takes a coordinator that is still loading for one that knows of nothing.
            if code := getattr(answer, "error_code", 0):
                raise for_code(code)
            return answer
        first = self._client.get_random_node()
        others = {broker.nodeId for broker in self._client.cluster.brokers()} - {first}
        failure: KafkaError = KafkaConnectionError("no broker is known")
        left = [] if first is None else [first, *others]
        while left:
            # While there are others, one that hangs is not waited for.
            limit = {"within": _SOON} if len(left) > 1 else {}
            try:
                return await self._client.send(left.pop(0), request, **limit)
            except _UNANSWERED as error:
                failure = error
        raise failure

    async def _send_to_controller(self, request: Any) -> Any:
        cluster, end = self._client.cluster, asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                if cluster.controller is None:
                    raise StaleMetadata("no controller is known")
                return await self._client.send(cluster.controller.nodeId, request)
            except _NOT_SENT:
                if asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(_BACKOFF)
            await self._client.force_metadata_update()

    @property
    def _patience(self) -> float:
        """The time-out of a request, in seconds."""
        return float(self._client._request_timeout_ms) / 1000  # noqa: SLF001
