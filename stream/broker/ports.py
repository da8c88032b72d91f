"""Ports on loopback."""

from __future__ import annotations

import errno
import random
import socket

from stream.broker.errors import PortTaken
from stream.broker.properties import HOST

#: Below the ports that the system itself hands out to outgoing connections: one of those could
#: take a broker's port while the broker is being restarted.
_RANGE = range(20_000, 32_000)


def check_free(port: int) -> None:
    """Raise ``PortTaken`` unless the port can be listened on."""
    try:
        _listen(port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} of {HOST} is taken: name another with --port") from error
        raise PortTaken(f"port {port} of {HOST} can't be used: {error.strerror}") from error


def free_port(but: int | None = None) -> int:
    """Return a port that nobody listens on, chosen at random."""
    for port in random.sample(_RANGE, 200):
        if port != but:
            try:
                _listen(port)
            except OSError:
                continue
            return port
    raise PortTaken(f"no free port on {HOST} between {_RANGE.start} and {_RANGE.stop}")


def _listen(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Java does: connections that are still fading away don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen()
