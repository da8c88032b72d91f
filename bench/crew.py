"""The workers of one group, each a process of its own, looked at from outside."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measured import Failed, cpu_seconds
from bench.site import PATIENCE, Site
from bench.worker import Watch
from stream.broker.process import GuardedProcess
from stream.core.catalogue import TOPICS

#: How often pages are looked at while series may be absent, in seconds.
_LOOK: Final = 0.2
#: Series that are there for so long are there again, in seconds.
_STEADY: Final = 3.0
#: A change is watched for at least so long, in seconds: a kill is noticed after ten.
_LEAST_WATCHED: Final = 15.0

_SHARDS: Final = re.compile(r'^cx_worker_shards\{state="owned"\} (\S+)$', re.MULTILINE)
_EVENTS: Final = re.compile(r"^cx_events_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_TOPIC: Final = re.compile(r'topic="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the group: how long some families' series were absent from all workers, in s."""

    what: str
    #: From the change until all series were there again for good.
    over: float
    #: The longest that the series of one family were absent.
    absent: float


class Crew:
    """The workers of one group, and topics of so many partitions."""

    def __init__(self, here: Site, group: str, stack: ExitStack, shards: int) -> None:
        self._here, self.group, self._stack, self._shards = here, group, stack, shards
        self.watches: list[Watch] = []
        self._processes: list[GuardedProcess] = []
        self._logs: list[Path] = []
        self._made = 0
        self._config = here.folder / f"{group}.toml"
        self._config.write_text(
            f'[kafka]\nbootstrap = "{here.bootstrap}"\ngroup = "{group}"\n'
            f'topic_prefix = "{self.prefix}"\npartitions = {shards}\n[http]\nport = 0\n'
        )

    @property
    def prefix(self) -> str:
        """The prefix of this group's source topics."""
        return f"{self.group}-"

    def add(self) -> None:
        """Start one more worker."""
        name = f"{self.group}-{self._made}"
        self._made += 1
        command = ("-m", "stream", "worker", "--config", str(self._config))
        process, log = self._stack.enter_context(self._here.process(name, *command))
        self.watches.append(Watch(process, log, name))
        self._processes.append(process)
        self._logs.append(log)

    def end(self, how: Callable[[GuardedProcess], object]) -> None:
        """End the worker that was started last."""
        self.watches.pop()
        self._logs.pop()
        how(self._processes.pop())

    def pages(self) -> list[str]:
        """What the workers show that serve their pages already."""
        return [
            watch.page()
            for watch, log in zip(self.watches, self._logs, strict=True)
            if "Metrics at" in log.read_text()
        ]

    def wait_until(self, is_so: Callable[[list[str]], bool], what: str) -> None:
        """Scrape until the pages are as wanted.

        Raises:
            Failed: they are not in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not is_so(self.pages()):
            if time.monotonic() > deadline:
                raise Failed(f"{self.group}: {what} takes too long")
            time.sleep(_LOOK)

    def is_shared_out(self, pages: Iterable[str]) -> bool:
        """Whether each worker has its part of the shards."""
        owned = [float(found[1]) if (found := _SHARDS.search(p)) else 0 for p in pages]
        return owned == [self._shards / len(self.watches)] * len(self.watches)

    def cpu(self) -> list[float]:
        """CPU seconds of each worker so far."""
        return [cpu_seconds(watch.pid) for watch in self.watches]

    def written(self, topic: str) -> int:
        """Bytes in the log of one of the group's own topics: all that was ever appended.

        Segments are compacted once they are closed, which takes ten minutes at least.
        """
        folders = self._here.broker.folder.logs.glob(f"{self.group}-{topic}-[0-9]*")
        return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))


def counted(pages: Iterable[str]) -> dict[str, float]:
    """Records with an outcome, by topic, as far as any worker shows them."""
    found: dict[str, float] = {}
    for page in pages:
        for labels, value in _EVENTS.findall(page):
            topic = _TOPIC.search(labels)
            assert topic is not None
            found[topic[1]] = found.get(topic[1], 0) + float(value)
    return found


@contextmanager
def crew(here: Site, group: str, workers: int, shards: int) -> Iterator[Crew]:
    """So many workers that have shared out the shards and show all families."""
    with ExitStack() as stack:
        found = Crew(here, group, stack, shards)
        # One after the other: the first one creates the topics.
        for n in range(workers):
            found.add()
            found.wait_until(found.is_shared_out, f"sharing out shards to {n + 1} workers")
        yield found


#: When the workers' pages were looked at (monotonic s), and the topics whose totals were shown.
Look = tuple[float, frozenset[str]]


def watch_change(found: Crew, what: str, change: Callable[[], object]) -> Change:
    """Make a change and look until all families are shown again.

    Raises:
        Failed: they stay absent.
    """
    began = time.monotonic()
    looks: list[Look] = [(began, frozenset(counted(found.pages())))]
    change()
    is_over = False
    while not is_over:
        if time.monotonic() - began > PATIENCE:
            raise Failed(f"{what}: only {sorted(looks[-1][1])} are shown")
        time.sleep(_LOOK)
        pages = found.pages()
        looks.append((time.monotonic(), frozenset(counted(pages))))
        is_shared_out = len(pages) == len(found.watches) and found.is_shared_out(pages)
        is_over = is_shared_out and _is_steady(looks) and looks[-1][0] - began > _LEAST_WATCHED
    return Change(what, *gaps(looks, began))


def _is_steady(looks: Sequence[Look]) -> bool:
    """Whether all has been shown for some time."""
    last = looks[-1][0]
    return all(len(shown) == len(TOPICS) for at, shown in looks if last - at <= _STEADY)


def gaps(looks: Sequence[Look], began: float) -> tuple[float, float]:
    """From ``began`` until all is shown for good, and the longest that one family was absent.

    A family is absent from the last look that showed it to the first that does again.
    """
    over = longest = 0.0
    for topic in TOPICS:
        there = [at for at, shown in looks if topic in shown]
        missed = [at for at, shown in looks if topic not in shown]
        for at in missed:
            since = max((t for t in there if t < at), default=began)
            until = min((t for t in there if t > at), default=looks[-1][0])
            longest = max(longest, until - since)
            over = max(over, until - began)
    return over, longest
