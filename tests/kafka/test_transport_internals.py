"""The private parts of aiokafka and Faust that the transport rests on are there.

Where this fails after a change of version, look at what took the place of the part that is named
before anything else: the other tests then fail in ways that say less.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record.memory_records import MemoryRecords

from stream.kafka.records import FetchedRecords
from tests.kafka.batches import TP, Batch, fetched, log_of
from tests.kafka.clients import Reading, consumer_of, new_app
from tests.kafka.groups import Group

#: What is used of each object, by dotted path.
PARTS: dict[str, tuple[str, ...]] = {
    "admin": (
        "_client._request_timeout_ms",
        "_client.cluster.brokers",
        "_client.cluster.controller",
        "_client.force_metadata_update",
        "_send_request",
        "_send_to_controller",
    ),
    "client": (
        "_md_synchronizer",
        "_metadata_update",
        "_request_timeout_ms",
        "bootstrap",
        "cluster.brokers",
        "get_random_node",
        "hosts",
        "send",
    ),
    "connection": ("_writer",),
    "consumer": (
        "_client",
        "_closed",
        "_isolation_level",
        "_fetch_max_bytes",
        "_fetch_max_wait_ms",
        "_fetch_min_bytes",
        "_subscription.fetch_context",
    ),
    "coordinator": (
        "_closing",
        "_commit_refresh_task",
        "_do_heartbeat",
        "_heartbeat_task",
        "_push_error_to_user",
        "_subscription.subscription.assignment",
        "_send_req",
        "check_errors",
        "group_id",
        "request_rejoin",
        "start_commit_offsets_refresh_task",
    ),
    "fetcher": (
        "_closed",
        "_create_fetch_waiter",
        "_isolation_level",
        "_notify",
        "_proc_fetch_request",
        "_records",
        "_subscriptions.subscription.assignment",
        "_wait_consume_future",
    ),
    "metadata request": ("API_KEY", "build", "prepare"),
    "position": ("has_valid_position", "highwater", "lso", "position", "timestamp"),
    "fetched": ("_partition_records", "_update_position", "check_assignment", "has_more"),
    "failed": ("_error",),
    "records": (
        "_aborted_producers",
        "_check_crcs",
        "_consume_aborted_up_to",
        "_contains_abort_marker",
        "_isolation_level",
        "_records.has_next",
        "_records.next_batch",
        "_records.size_in_bytes",
        "_tp",
        "next_fetch_offset",
    ),
    "batch": (
        "base_offset",
        "compression_type",
        "is_control_batch",
        "is_transactional",
        "next_offset",
        "producer_id",
        "validate_crc",
    ),
    "producer": (
        "_closed",
        "_message_accumulator._batch_ttl",
        "_message_accumulator._batches",
        "_message_accumulator._pending_batches",
        "_sender.close",
        "_sender.sender_task",
        "_txn_manager.wait_for_transaction_end",
        "client._conns",
        "client.close",
    ),
    "faust app": ("_create_directories",),
    "faust consumer": ("_read_offset", "_thread", "can_resume_flow", "flow_active"),
    "faust thread": ("_ensure_consumer", "call_thread", "verify_event_path"),
}


@pytest.fixture
async def objects() -> dict[str, Any]:
    reading = Reading(consumer_of(new_app()).thread)
    await reading.enter(0, epoch=1)
    log = log_of([Batch(0, 2, (0, 1))])
    result = FetchResult(
        TP, partition_records=fetched(log), assignment=reading.assignment, backoff=0
    )
    return {
        "admin": AIOKafkaAdminClient(bootstrap_servers="127.0.0.1:1"),
        "client": AIOKafkaClient(bootstrap_servers="127.0.0.1:1"),
        "connection": AIOKafkaConnection("127.0.0.1", 1),
        "consumer": AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1"),
        # It is made when a consumer starts.
        "coordinator": Group().coordinator,
        "fetcher": reading.fetcher,
        "metadata request": MetadataRequest([]),
        "position": reading.assignment.state_value(TP),
        "fetched": result,
        "failed": FetchError(error=ValueError(), backoff=0),
        "records": fetched(log, records=MemoryRecords),
        "batch": fetched(log, records=MemoryRecords)._records.next_batch(),
        "producer": AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", transactional_id="id"),
        "faust app": faust.App,
        "faust consumer": consumer_of(new_app()),
        "faust thread": reading.thread,
    }


@pytest.mark.parametrize("name", PARTS)
async def test_the_parts_that_are_used_exist(objects: dict[str, Any], name: str) -> None:
    missing = []
    for path in PARTS[name]:
        try:
            attrgetter(path)(objects[name])
        except AttributeError:
            missing.append(path)
    which = f"aiokafka {version('aiokafka')}, faust-streaming {version('faust-streaming')}"
    assert not missing, f"{name} of {which} has no longer {', '.join(missing)}"


async def test_the_routines_that_call_what_is_replaced_look_it_up_each_time() -> None:
    """Replacing a method on an object has an effect only where callers go through the object."""
    for caller, replaced in (
        (faust.App.on_first_start, "_create_directories"),
        (AIOKafkaAdminClient._get_cluster_metadata, "_send_request"),
        (AIOKafkaAdminClient.create_topics, "_send_to_controller"),
        (AIOKafkaClient._md_synchronizer, "_metadata_update"),
        (AIOKafkaClient.coordinator_lookup, "get_random_node"),
        (GroupCoordinator._heartbeat_routine, "_do_heartbeat"),
        (GroupCoordinator._GroupCoordinator__coordination_routine, "_push_error_to_user"),
        (GroupCoordinator._do_heartbeat, "_send_req"),
        (CoordinatorGroupRebalance.perform_group_join, "_send_req"),
        (CoordinatorGroupRebalance._send_sync_group_request, "_send_req"),
        (GroupCoordinator.close, "_closing"),
        (GroupCoordinator._maybe_leave_group, "generation"),
        (Fetcher._fetch_requests_routine, "_proc_fetch_request"),
        (FetchResult._update_position, "next_fetch_offset"),
        (FetchResult.check_assignment, "next_fetch_offset"),
    ):
        assert replaced in caller.__code__.co_names, f"{caller.__qualname__} ignores {replaced}"


async def test_an_assignment_that_is_over_says_so() -> None:
    state = SubscriptionState()
    state.assign_from_user([TP])
    former = state.subscription.assignment
    state.unsubscribe()
    await asyncio.sleep(0)
    assert not former.active


def test_the_client_makes_what_it_has_fetched_of_a_class_that_its_module_names() -> None:
    assert vars(fetcher)["MemoryRecords"] is FetchedRecords
    assert "MemoryRecords" in Fetcher._proc_fetch_request.__code__.co_names
