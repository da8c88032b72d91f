"""What can go wrong with the embedded broker; every message is one line fit for the user."""

from __future__ import annotations

from stream.core.errors import StopError


class BrokerError(StopError):
    """The embedded broker can't run; the message says why and what to do."""


class PortTaken(BrokerError):
    """The port asked for can't be listened on."""


class DownloadFailed(BrokerError):
    """The jars of Kafka could not be fetched."""


class JarMismatch(BrokerError):
    """A jar is not the one that the lock file names."""


class FolderRefused(BrokerError):
    """The data folder belongs to another version, another broker or to something else."""


class StartFailed(BrokerError):
    """The broker ended or hung; the message names the log's last line and its file."""
