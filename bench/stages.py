"""``python -m bench.stages``: what each stage of the core costs per event.

One shard in this process takes in generated events, topic by topic in chunks as a worker's agent
gives them, and writes its state log, which goes nowhere. Times are CPU times of the thread, of each
stage less those of the stages within. They are somewhat too large, as looking at the clock takes
time too; the last line is the whole without looking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import click

from stream.collector import tune
from stream.core import batch, decode, dedupe, intake, memory, segments, state, table, tally
from stream.core.active import ActiveStore
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.topics import signal, subscription, visit
from stream.core.topics.cart.carts import Carts
from stream.core.topics.survey.answers import Answers
from stream.core.topics.ticket.tickets import Tickets
from stream.core.values import Values
from stream.generate import company

_START: Final = 1_768_392_000_000
#: Events are spread over so many seconds, as in the benchmark.
_SPAN: Final = 3600

#: What belongs to a stage: methods by class.
STAGES: Final[dict[str, tuple[tuple[type[Any] | Any, tuple[str, ...]], ...]]] = {
    "decode: JSON, types, rules": ((decode.Decoder, ("decode",)),),
    "decode: times and labels": ((decode.Decoder, ("_read_common",)),),
    "columns of what events say, digests": ((batch, ("_piece",)), (batch.Batch, ("__init__",))),
    "rows of labels": ((segments.Segments, ("known_rows", "saw", "row")),),
    "outcomes": ((intake.Intake, ("_find_doubts", "_accept")),),
    "one by one: outcomes and rare events": (
        (intake.Intake, ("_settle_doubts", "_handle_each")),
        (memory.Memory, ("put", "get")),
    ),
    "event ids": ((dedupe.SeenIds, ("arrivals", "add")),),
    "hash tables": ((table.Index, ("find", "insert", "rebuild")),),
    "columns of visits": ((visit.Visits, ("_many_ended",)),),
    "columns of answers": ((Answers, ("_many_answered",)),),
    "columns of tickets": ((Tickets, ("_many_closed",)),),
    "columns of carts": ((Carts, ("_many_used", "_many_bought", "advance")),),
    "columns of subscriptions": (
        (subscription.Subscriptions, ("_many_started", "_many_paid", "_many_cancelled")),
    ),
    "columns of signals": ((signal.Customers, ("_many_signalled",)),),
    "tables of entities": ((memory.Memory, ("put_new", "update", "expire")),),
    "counters": ((tally.Tally, ("add_columns", "drain")),),
    "the rest of a batch": ((Shard, ("ingest",)),),
    "flush: windows": ((tally.WindowStore, ("fold", "changes", "dump", "expire")),),
    "flush: changes": (
        (memory.Memory, ("changes", "touched")),
        (dedupe.SeenIds, ("changes", "touched", "expire")),
        (segments.Segments, ("changes", "dump")),
        (ActiveStore, ("changes", "dump")),
    ),
    "flush: blocks": ((memory.Memory, ("dump",)), (dedupe.SeenIds, ("dump",))),
    "flush: msgpack and zstd": ((state, ("pack", "packed_block")),),
    "the rest of a flush": ((StateLog, ("flush",)),),
}


class Stopwatch:
    """Gathers the CPU time of the innermost stage that runs."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = {}
        self._within: list[int] = []

    def watch(self) -> None:
        """Replace the methods of all stages by ones that look at the clock."""
        for stage, parts in STAGES.items():
            for owner, names in parts:
                for name in names:
                    setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time_ns()
            self._within.append(0)
            try:
                return method(*args, **kwargs)
            finally:
                spent = time.thread_time_ns() - began
                self.spent[stage] = self.spent.get(stage, 0) + spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent

        return timed


def chunks(events: int, size: int) -> Iterator[tuple[str, list[bytes], int]]:
    """Chunks of one topic each, about as they would come, and the time of their last event."""
    waiting: dict[str, list[bytes]] = {}
    for at, topic, _, value in islice(company.events(_START, None, events / _SPAN, 1), events):
        some = waiting.setdefault(topic, [])
        some.append(value)
        if len(some) == size:
            yield topic, waiting.pop(topic), at
    for topic, some in waiting.items():
        yield topic, some, at


def run(prepared: list[tuple[str, list[bytes], int]], flush: int) -> float:
    """Take in all chunks; the CPU seconds that it took."""
    settings = Settings()
    shard = Shard(settings, Values(settings))
    log = StateLog(shard)
    began = time.thread_time_ns()
    waiting = 0
    for topic, values, at in prepared:
        refused = shard.ingest(topic, values, at)
        if refused:
            raise SystemExit(f"an event was not accepted: {refused[0]}")
        waiting += len(values)
        if waiting >= flush:
            waiting = 0
            shard.advance(at)
            log.flush(at)
    return (time.thread_time_ns() - began) / 1e9


@click.command()
@click.option("--events", type=click.IntRange(10_000), default=400_000, show_default=True)
@click.option("--chunk", type=click.IntRange(1, 100_000), default=4_000, show_default=True)
@click.option("--flush", type=click.IntRange(1), default=20_000, show_default=True)
def main(events: int, chunk: int, flush: int) -> None:
    """Measure each stage."""
    prepared = list(chunks(events, chunk))
    tune()
    whole = run(prepared, flush)
    stopwatch = Stopwatch()
    stopwatch.watch()
    run(prepared, flush)
    print("| stage | µs of CPU per event |\n| --- | --- |")
    for stage in STAGES:
        print(f"| {stage} | {stopwatch.spent.get(stage, 0) / events / 1000:.2f} |")
    print(f"| together | {sum(stopwatch.spent.values()) / events / 1000:.2f} |")
    print(f"| without looking at the clock | {whole / events * 1e6:.2f} |")


if __name__ == "__main__":
    main()
