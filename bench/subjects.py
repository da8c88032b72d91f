"""All that is measured in rounds, in two tables: everything on, and like for like."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bench import answers, environments, events, replay, worker
from bench.answers import Answers
from bench.events import Written
from bench.job import PANE_SECONDS, WINDOW_SECONDS
from bench.measured import Measurement, Subject
from bench.site import Site
from stream.core.catalogue import TOPICS

EVERYTHING: Final = "everything on"
LIKE: Final = "like for like"
TABLES: Final = {
    "worker": EVERYTHING,
    "replay": EVERYTHING,
    "fetch": EVERYTHING,
    "faust-each": EVERYTHING,
    "worker-nps": LIKE,
    "fetch-nps": LIKE,
    "kstreams-processor": LIKE,
    "kstreams-processor-cold": LIKE,
    "kstreams-dsl": LIKE,
    "kstreams-dsl-cold": LIKE,
    "bytewax-batched": LIKE,
    "bytewax-windowed": LIKE,
    "quix-keyed": LIKE,
    "quix-windowed": LIKE,
    "faust": LIKE,
    "faust-tuned": LIKE,
}
NAMES: Final = tuple(TABLES)

#: Slow subjects read the first part of the same records: a fifth, a fortieth.
_FIFTH: Final = 5
_FORTIETH: Final = 40

_TEXTS: Final = {
    "worker": "`cxkpi worker`, a process of its own with the default configuration: validation,"
    " deduplication, entities, four windows, four rollups, all KPIs, state and positions in"
    " transactions; scraped each second",
    "replay": "`cxkpi replay` of the same events from a file, less its start: the same core"
    " without Kafka and without a state log",
    "fetch": "aiokafka alone: `getmany`, nothing done with the records",
    "faust-each": "stock Faust, idiomatic: an agent that adds each event of any type once to a"
    " windowed counter (in memory, with changelog); nothing is validated or deduplicated",
    "worker-nps": "`cxkpi worker` with one window (2 h in panes of 30 s) and one rollup (channel,"
    " region): validation, deduplication, remembered answers and transactions can't be switched"
    " off, so it does them too; scraped each second",
    "fetch-nps": "aiokafka alone on these records",
    "kstreams-processor": "Kafka Streams, Processor API: a cached key-value store in memory with"
    " changelog, at least once, commits each second; the second pass in a JVM, so without its start"
    " and the JIT's warming up",
    "kstreams-processor-cold": "the same, first pass, from the start of the JVM",
    "kstreams-dsl": "Kafka Streams, DSL: `groupBy` (a repartition topic), `windowedBy`, `aggregate`"
    " in the default store; second pass",
    "kstreams-dsl-cold": "the same, first pass, from the start of the JVM",
    "bytewax-batched": "Bytewax, batches of 10,000 decoded with msgspec and summed by hand, sums"
    " in a stateful step; no recovery snapshots",
    "bytewax-windowed": "Bytewax, `fold_window` with a tumbling windower on event time, msgspec;"
    " no recovery snapshots",
    "quix-keyed": "Quix Streams, keyed state by source partition without `group_by` (RocksDB,"
    " changelog, at least once)",
    "quix-windowed": "Quix Streams, idiomatic: `group_by` (a repartition topic),"
    " `tumbling_window`, `reduce`, `current`",
    "faust": "stock Faust, idiomatic: an agent and a windowed table (in memory, with changelog)",
    "faust-tuned": "the same with msgspec, uvloop, a plain table and larger fetches, buffers and"
    " linger",
}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was written for the subjects."""

    events: Written | None
    answers: dict[int, Answers]


def write(here: Site, count: int, names: list[str]) -> Inputs:
    """Write what the named subjects read."""
    written = None
    if any(TABLES[name] == EVERYTHING for name in names):
        print(f"Writing {count:,} events of all types", file=sys.stderr)
        written = events.write(here.kafka, here.events_file, count)
    sizes = sorted({size_of(name, count) for name in names if TABLES[name] == LIKE})
    if sizes:
        print(f"Writing {', '.join(f'{n:,}' for n in sizes)} NPS answers", file=sys.stderr)
    return Inputs(written, {n: answers.write(here.kafka, n) for n in sizes})


def size_of(name: str, count: int) -> int:
    """How many records a subject reads."""
    share = _FIFTH if name.startswith("quix") else _FORTIETH if name.startswith("faust") else 1
    return max(1_000, count // share)


class Runs:
    """Runs each subject on what was written for it."""

    def __init__(self, here: Site, count: int, inputs: Inputs) -> None:
        self._here, self._count, self._inputs = here, count, inputs

    def subjects(self, names: list[str]) -> list[Subject]:
        """The named subjects."""
        return [Subject(n, TABLES[n], _TEXTS[n], self._run_of(n)) for n in names]

    def _run_of(self, name: str) -> Callable[[int], Measurement]:
        family = name.split("-", 1)[0]
        runs: dict[str, Callable[[str, int], Measurement]] = {
            "worker": self._worker,
            "replay": lambda *_: replay.measure(self._here, self._written.outcomes),
            "fetch": self._fetch,
            "faust": self._faust,
            "kstreams": self._kafka_streams,
            "bytewax": self._bytewax,
            "quix": self._quix,
        }
        return lambda turn: runs[family](name, turn)

    @property
    def _written(self) -> Written:
        assert self._inputs.events is not None
        return self._inputs.events

    def _answers(self, name: str) -> Answers:
        return self._inputs.answers[size_of(name, self._count)]

    def _worker(self, name: str, turn: int) -> Measurement:
        group = f"{name}-{turn}"
        if name == "worker":
            return worker.measure(self._here, group, self._written.outcomes)
        return worker.measure_answers(self._here, group, self._answers(name))

    def _fetch(self, name: str, turn: int) -> Measurement:
        topics = TOPICS if name == "fetch" else (self._answers(name).topic,)
        return self._here.program(
            f"{name}-{turn}",
            self._own("raw_fetch"),
            events=self._count,
            topics=",".join(topics),
        )

    def _faust(self, name: str, turn: int) -> Measurement:
        each = name == "faust-each"
        app = f"{name}-{turn}"
        return self._here.program(
            app,
            self._own("stock_faust"),
            None if each else self._answers(name).truth,
            app_id=app,
            folder=self._here.folder / app,
            events=size_of(name, self._count),
            topics=",".join(TOPICS) if each else self._answers(name).topic,
            job="each" if each else "nps",
            tuned=name == "faust-tuned",
        )

    def _kafka_streams(self, name: str, turn: int) -> Measurement:
        app = f"{name}-{turn}"
        found = self._answers(name)
        return self._here.program(
            app,
            self._java,
            found.truth,
            topic=found.topic,
            app_id=app,
            folder=self._here.folder / app,
            events=found.count,
            job=name.split("-")[1],
            passes=1 if name.endswith("-cold") else 2,
            pane_seconds=PANE_SECONDS,
            window_seconds=WINDOW_SECONDS,
        )

    def _bytewax(self, name: str, turn: int) -> Measurement:
        found = self._answers(name)
        return self._here.program(
            f"{name}-{turn}",
            [str(environments.python_of("bytewax")), "-m", "bench.peers.bytewax_nps"],
            found.truth,
            topic=found.topic,
            events=found.count,
            job=name.split("-")[1],
        )

    def _quix(self, name: str, turn: int) -> Measurement:
        app = f"{name}-{turn}"
        found = self._answers(name)
        return self._here.program(
            app,
            [str(environments.python_of("quix")), "-m", "bench.peers.quix_nps"],
            found.truth,
            topic=found.topic,
            app_id=app,
            folder=self._here.folder / app,
            events=found.count,
            job=name.split("-")[1],
        )

    @cached_property
    def _java(self) -> list[str]:
        return [*environments.kafka_streams(), "KafkaStreamsNps"]

    @staticmethod
    def _own(module: str) -> list[str]:
        return [sys.executable, "-m", f"bench.programs.{module}"]
