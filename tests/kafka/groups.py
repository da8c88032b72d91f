"""A group that answers as the test says, and its member: a real coordinator, no broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.group import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)

from tests.kafka.batches import TP

#: What a member asks of its group.
Asked = type[
    HeartbeatRequest | JoinGroupRequest | LeaveGroupRequest | OffsetFetchRequest | SyncGroupRequest
]


class Group:
    """Takes the member in and gives it the partitions, unless it is to refuse."""

    def __init__(
        self, partitions: tuple[int, ...] = (), listener: ConsumerRebalanceListener | None = None
    ) -> None:
        assigned = [(TP.topic, list(partitions))] if partitions else []
        self._assignment = ConsumerProtocolMemberAssignment(0, assigned, b"").encode()
        self.asked: list[Asked] = []
        self._refusals: dict[Asked, list[int]] = {}
        self.subscriptions = SubscriptionState()
        self.subscriptions.subscribe({TP.topic}, listener=listener)
        self.subscriptions.register_fetch_waiters(set())
        self.coordinator = GroupCoordinator(
            AIOKafkaClient(bootstrap_servers="127.0.0.1:1"),
            self.subscriptions,
            group_id="g",
            enable_auto_commit=False,
        )
        self.coordinator.coordinator_id = 1
        self.coordinator._send_req = self._answer

    def refuse(self, what: Asked, code: int, times: int = 1) -> None:
        """Refuse that so often by this code."""
        self._refusals[what] = [code] * times

    def refused(self, what: Asked) -> bool:
        """Whether all that was to be refused of it is."""
        return not self._refusals.get(what)

    async def _answer(self, request: Any) -> Any:
        await asyncio.sleep(0)
        what = type(request)
        self.asked.append(what)
        refusals = self._refusals.get(what)
        code = refusals.pop(0) if refusals else 0
        return SimpleNamespace(
            error_code=code,
            topics=[(TP.topic, [(TP.partition, 7, "", code)])],
            member_id="m",
            generation_id=1,
            group_protocol="roundrobin",
            leader_id="another",
            member_assignment=self._assignment,
        )

    async def until_member(self) -> None:
        """Wait until the group has taken the member in."""
        while self.subscriptions.subscription.assignment is None:  # noqa: ASYNC110 - it is Kafka's.
            await asyncio.sleep(0.01)
