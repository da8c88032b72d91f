"""An embedded Apache Kafka: one real broker (KRaft) on loopback, its data in one folder.

``Broker`` starts and stops it; ``jars`` fetches what it consists of and verifies every file
against ``kafka.lock.toml``; ``guard`` sees to it that it never outlives whoever started it.
"""

from stream.broker.broker import Broker
from stream.broker.errors import (
    BrokerError,
    DownloadFailed,
    FolderRefused,
    JarMismatch,
    PortTaken,
    StartFailed,
)

__all__ = [
    "Broker",
    "BrokerError",
    "DownloadFailed",
    "FolderRefused",
    "JarMismatch",
    "PortTaken",
    "StartFailed",
]
