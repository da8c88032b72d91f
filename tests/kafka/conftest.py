"""Configurations and workers for tests on a real broker."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from stream.broker import Broker
from stream.config import Config, load
from stream.core.catalogue import TOPICS
from tests.kafka.topics import Read, records, send
from tests.kafka.workers import WorkerProcess

_numbers = itertools.count(1)

#: Nothing ages out of these while a test runs, unless it wants to see that.
WINDOWS = (("5m", "5s"), ("1h", "1m"), ("24h", "10m"), ("7d", "1h"))
#: Faster than the default, so that more happens in the time that a test takes.
FLUSH: Final = "250ms"


@dataclass(frozen=True)
class Site:
    """Topics, group and configuration of one test."""

    bootstrap: str
    prefix: str
    group: str
    file: Path
    config: Config
    folder: Path
    stack: ExitStack

    def worker(
        self, file: Path | None = None, module: Sequence[str] = ("stream",)
    ) -> WorkerProcess:
        """Start a worker; it is killed when the test ends."""
        log = self.folder / f"worker-{next(_numbers)}.log"
        return self.stack.enter_context(WorkerProcess(file or self.file, log, module))

    def source(self, topic: str) -> str:
        return self.prefix + topic

    def sources(self) -> list[Read]:
        """All records of the source topics."""
        return records(self.bootstrap, [self.prefix + t for t in TOPICS])

    def dead_letters(self) -> list[Read]:
        """All committed dead letters."""
        return records(self.bootstrap, [f"{self.prefix}{t}.dlq" for t in TOPICS])

    def send(self, *messages: tuple[str, bytes | None, bytes]) -> None:
        """Write records of (topic, key, value)."""
        send(self.config.kafka, messages)


class Sites:
    """Makes the sites of a test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack

    def __call__(
        self,
        bootstrap: str,
        *,
        more: str = "",
        kafka: str = "",
        flush: str = FLUSH,
        session: str = "6s",
        head: str = "",
        like: Site | None = None,
        prefix: str = "",
    ) -> Site:
        """A site with further configuration; ``like`` takes the topics and group of another.

        With a ``prefix`` of its own it takes only the group.
        """
        number = next(_numbers)
        prefix = prefix or (like.prefix if like else f"site-{number}-")
        group = like.group if like else f"group-{number}"
        windows = "".join(f'[[window]]\nsize = "{s}"\npane = "{p}"\n' for s, p in WINDOWS)
        file = self._folder / f"site-{number}.toml"
        file.write_text(
            f"{head}\n"
            f'[kafka]\nbootstrap = "{bootstrap}"\ngroup = "{group}"\ntopic_prefix = "{prefix}"\n'
            f'session_timeout = "{session}"\nflush = "{flush}"\n{kafka}\n'
            f"[http]\nport = 0\n{windows}\n{more}\n"
        )
        config = load(file, {})
        return Site(bootstrap, prefix, group, file, config, self._folder, self._stack)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    """Make sites; their workers are gone when the test ends."""
    with ExitStack() as stack:
        yield Sites(tmp_path, stack)


@pytest.fixture
def site(sites: Sites, broker: Broker) -> Site:
    """A site on the shared broker."""
    return sites(broker.bootstrap)
