"""An embedded Apache Kafka: one real broker (KRaft) on loopback, in a folder of the caller's choice.

``Broker`` starts and stops it; ``jars`` fetches what it consists of and verifies every file against
``kafka.lock.toml``; ``guard`` sees to it that no broker outlives the process that started it.
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
