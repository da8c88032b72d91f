"""The job in Quix Streams, as its documentation shows it.

- ``windowed``: ``group_by`` the segment, which writes a repartition topic, then a tumbling window;
- ``keyed``: no repartitioning: every source partition keeps its own counts of all segments in keyed
  state, so that a reader sums over partitions as well as panes. The state's prefix is the message's
  key, so a deserialiser gives all messages of the topic one key.

State is in RocksDB with changelog topics, which is Quix's default; at least once.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer

from bench.job import PANE_SECONDS, WINDOW_SECONDS, Progress, with_score


class OneKey(Deserializer):
    """All messages have one key, so that they share the state of their partition."""

    def __call__(self, value: bytes, ctx: Any) -> bytes:
        return b"all"


def occurred(answer: dict[str, Any]) -> float:
    return datetime.fromisoformat(answer["occurred_at"]).timestamp()


def time_of(value: Any, headers: Any, timestamp: float, kind: Any) -> int:
    return int(occurred(value) * 1000)


def segment_of(answer: dict[str, Any]) -> str:
    labels = answer["labels"]
    return f"{labels['channel']}/{labels['region']}"


def windowed(app: Application, name: str, progress: Progress) -> None:
    topic = app.topic(name, value_deserializer="json", timestamp_extractor=time_of)
    latest: dict[str, list[int]] = {}

    def see(window: dict[str, Any], key: Any, timestamp: int, headers: Any) -> None:
        latest[f"{key}/{window['start'] // 1000}"] = window["value"]
        if progress.event():
            progress.end(latest)

    answers = app.dataframe(topic).group_by(segment_of, name="segment")
    (
        answers.tumbling_window(
            timedelta(seconds=PANE_SECONDS),
            # Partitions are read one after the other in parts, so answers come out of order.
            grace_ms=timedelta(seconds=WINDOW_SECONDS),
        )
        .reduce(
            reducer=lambda counts, answer: with_score(counts, answer["score"]),
            initializer=lambda answer: with_score([0, 0, 0], answer["score"]),
        )
        .current()
        .update(see, metadata=True)
    )


def keyed(app: Application, name: str, progress: Progress) -> None:
    topic = app.topic(name, value_deserializer="json", key_deserializer=OneKey())
    # For the check only: what each partition's state holds, told by the state object itself.
    latest: dict[int, dict[str, list[int]]] = defaultdict(dict)

    def count(answer: dict[str, Any], state: Any) -> None:
        pane = int(occurred(answer)) // PANE_SECONDS * PANE_SECONDS
        key = f"{segment_of(answer)}/{pane}"
        counts = with_score(state.get(key) or [0, 0, 0], answer["score"])
        state.set(key, counts)
        # The public interface does not say which partition's state this is.
        latest[id(state._transaction._partition)][key] = counts  # noqa: SLF001
        if progress.event():
            progress.end(summed(latest))

    app.dataframe(topic).update(count, stateful=True)


def summed(parts: dict[int, dict[str, list[int]]]) -> dict[str, list[int]]:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for part in parts.values():
        for key, counts in part.items():
            totals[key] = [a + b for a, b in zip(totals[key], counts, strict=True)]
    return totals


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "app-id", "folder", "job"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--events", type=int, required=True)
    options = parser.parse_args()
    app = Application(
        broker_address=options.bootstrap,
        consumer_group=options.app_id,
        auto_offset_reset="earliest",
        state_dir=options.folder,
        loglevel="WARNING",
    )
    job = windowed if options.job == "windowed" else keyed
    job(app, options.topic, Progress(options.events))
    app.run()


if __name__ == "__main__":
    main()
