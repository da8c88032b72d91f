"""The configuration of the embedded broker: one node, loopback only, quick to start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"

#: The largest record batch; large enough that a record of 2 MB arrives and can be refused by us.
MESSAGE_MAX_BYTES = 4 * 1024 * 1024

_MEGABYTE = 1024 * 1024


def properties(
    logs: Path, port: int, controller_port: int, overrides: Mapping[str, object]
) -> dict[str, str]:
    """Return Kafka's properties; the overrides win."""
    base: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "log.dirs": logs,
        "auto.create.topics.enable": "false",
        "num.partitions": 4,
        "message.max.bytes": MESSAGE_MAX_BYTES,
        "replica.fetch.max.bytes": MESSAGE_MAX_BYTES,
        # One node can't keep a second copy of its internal topics.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # The first member of a group need not wait for others.
        "group.initial.rebalance.delay.ms": 0,
        # After a crash the node waits until its earlier self counts as gone (9 s by default).
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # Two cores and half a gigabyte have to be enough.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * _MEGABYTE,
        "log.index.size.max.bytes": _MEGABYTE,
        "log.segment.bytes": 256 * _MEGABYTE,
    }
    return {key: str(value) for key, value in {**base, **overrides}.items()}


def text(entries: Mapping[str, str]) -> str:
    """Return the entries in the form of a Java properties file."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in entries.items())


def _escape(part: str) -> str:
    # Only what would be read differently: backslash, line ends, and characters beyond Latin-1.
    part = part.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return "".join(c if ord(c) < 128 else _unicode(c) for c in part)


def _unicode(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
