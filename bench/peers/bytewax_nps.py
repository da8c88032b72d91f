"""The job in Bytewax, with one worker and without recovery snapshots.

- ``windowed``: key by segment, then ``fold_window`` with a tumbling windower on event time;
- ``batched``: each batch that the Kafka source yields is decoded and summed by hand, and only the
  sums go through a stateful step.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import msgspec
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from bench.job import PANE_SECONDS, WINDOW_SECONDS, Progress, with_score

#: Records at a time in the hand-batched program; the source's default is 1,000.
BATCH = 10_000


class Labels(msgspec.Struct):
    channel: str
    region: str


class Answer(msgspec.Struct):
    occurred_at: datetime
    labels: Labels
    score: float


class Latest(DynamicSink[Any]):
    """Keeps the last counts of each segment and pane; a real sink would send them on."""

    def __init__(self, counts: dict[str, list[int]]) -> None:
        self._counts = counts

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Part:
        return _Part(self._counts)


class _Part(StatelessSinkPartition[Any]):
    def __init__(self, counts: dict[str, list[int]]) -> None:
        self._counts = counts

    def write_batch(self, items: list[Any]) -> None:
        for segment, (pane, counts) in items:
            self._counts[f"{segment}/{pane * PANE_SECONDS}"] = counts


def windowed(source: KafkaSource, latest: dict[str, list[int]], progress: Progress) -> Dataflow:
    decode = msgspec.json.Decoder(Answer).decode
    flow = Dataflow("nps")

    def keyed(message: Any) -> tuple[str, Answer]:
        progress.event()
        answer = decode(message.value)
        return f"{answer.labels.channel}/{answer.labels.region}", answer

    answers = op.map("decode", op.input("in", flow, source), keyed)
    windows = win.fold_window(
        "nps",
        answers,
        # Partitions are read one after the other in parts, so answers come out of order.
        EventClock(lambda answer: answer.occurred_at, timedelta(seconds=WINDOW_SECONDS)),
        TumblingWindower(timedelta(seconds=PANE_SECONDS), datetime(1970, 1, 1, tzinfo=UTC)),
        lambda: [0, 0, 0],
        lambda counts, answer: with_score(counts, answer.score),
        lambda a, b: [x + y for x, y in zip(a, b, strict=True)],
        # Counts do not depend on the order, and an ordered fold would queue every answer.
        ordered=False,
    )
    op.output("out", windows.down, Latest(latest))
    return flow


def batched(source: KafkaSource, latest: dict[str, list[int]], progress: Progress) -> Dataflow:
    decode = msgspec.json.Decoder(Answer).decode
    flow = Dataflow("nps")

    def sums(messages: list[Any]) -> Iterable[tuple[str, dict[int, list[int]]]]:
        progress.event(len(messages))
        found: dict[str, dict[int, list[int]]] = {}
        for message in messages:
            answer = decode(message.value)
            labels = answer.labels
            panes = found.setdefault(f"{labels.channel}/{labels.region}", {})
            pane = int(answer.occurred_at.timestamp()) // PANE_SECONDS
            panes[pane] = with_score(panes.get(pane, (0, 0, 0)), answer.score)
        return found.items()

    def add(
        state: dict[int, list[int]] | None, panes: dict[int, list[int]]
    ) -> tuple[dict[int, list[int]], list[tuple[int, list[int]]]]:
        state = state or {}
        for pane, more in panes.items():
            state[pane] = [a + b for a, b in zip(state.get(pane, (0, 0, 0)), more, strict=True)]
        return state, [(pane, state[pane]) for pane in panes]

    deltas = op.flat_map_batch("sum", op.input("in", flow, source), sums)
    op.output("out", op.stateful_flat_map("add", deltas, add), Latest(latest))
    return flow


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "job"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    latest: dict[str, list[int]] = {}
    progress = Progress(options.events)
    is_batched = options.job == "batched"
    more = {"batch_size": BATCH} if is_batched else {}
    source = KafkaSource([options.bootstrap], [options.topic], tail=False, **more)
    flow = (batched if is_batched else windowed)(source, latest, progress)
    progress.start()
    run_main(flow)
    print(progress.result(latest), flush=True)


if __name__ == "__main__":
    main()
