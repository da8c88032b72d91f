"""The job in stock Faust, as its documentation shows it: an agent and a windowed table.

The table is in memory and has a changelog. Two workloads:

- ``nps``: the like-for-like job, on answers to NPS surveys;
- ``each``: every event of any type adds to the windowed counters of its type and segment, which is
  the least that any rolling KPI of that event takes.

``--tuned`` decodes with msgspec instead of ``faust.Record``, keeps panes in the keys of a plain
table, and uses the settings that helped.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta
from typing import Any, Optional, cast

import click
import faust
import msgspec

from bench.job import PANE_SECONDS, WINDOW_SECONDS, Progress, with_score
from bench.site import PARTITIONS


class Event(faust.Record, coerce=True):
    event_id: str
    type: str
    occurred_at: datetime
    customer_id: Optional[str] = None  # noqa: UP045 - Faust does not know `str | None`.
    labels: Optional[dict[str, str]] = None  # noqa: UP045
    survey: Optional[str] = None  # noqa: UP045
    score: Optional[float] = None  # noqa: UP045


class SlimEvent(msgspec.Struct):
    type: str
    occurred_at: datetime
    labels: dict[str, str] | None = None
    survey: str | None = None
    score: float | None = None


class Counting:
    """Where an event counts, and what has been counted in all, for the check."""

    def __init__(self, job: str, events: int) -> None:
        self._job = job
        self._progress = Progress(events)
        #: The last counts that the table was given, by key and pane.
        self._latest: dict[str, list[int]] = {}

    def key_of(self, event: Event | SlimEvent) -> str:
        """The table's key that the event adds to."""
        labels = event.labels or {}
        segment = f"{labels.get('channel')}/{labels.get('region')}"
        return f"{event.type}/{segment}" if self._job == "each" else segment

    def counted(self, key: str, pane: int, counts: list[int]) -> None:
        """Note what was written; ends the program after the last event."""
        self._latest[f"{key}/{pane * PANE_SECONDS}"] = counts
        if self._progress.event():
            self._progress.end(self._latest)


def pane_of(event: Event | SlimEvent) -> int:
    return int(event.occurred_at.timestamp()) // PANE_SECONDS


def nothing() -> list[int]:
    return [0, 0, 0]


def idiomatic(app: faust.App, topics: list[str], counting: Counting) -> None:
    source = app.topic(*topics, value_type=Event)
    table: Any = (
        app.Table("nps", default=nothing, partitions=PARTITIONS)
        .tumbling(timedelta(seconds=PANE_SECONDS), expires=timedelta(seconds=2 * WINDOW_SECONDS))
        .relative_to_field(cast("Any", Event.occurred_at))
    )

    @app.agent(source)
    async def count(events: Any) -> None:
        async for event in events:
            key = counting.key_of(event)
            counts = with_score(table[key].value(), event.score or 0.0)
            table[key] = counts
            counting.counted(key, pane_of(event), counts)


def tuned(app: faust.App, topics: list[str], counting: Counting) -> None:
    source = app.topic(*topics, value_type=bytes, value_serializer="raw", key_serializer="raw")
    table: Any = app.Table("nps", default=nothing, partitions=PARTITIONS)
    decode = msgspec.json.Decoder(SlimEvent).decode

    @app.agent(source)
    async def count(values: Any) -> None:
        async for value in values:
            event = decode(value)
            key, pane = counting.key_of(event), pane_of(event)
            named = f"{key}/{pane}"
            counts = with_score(table[named], event.score or 0.0)
            table[named] = counts
            counting.counted(key, pane, counts)


def settings(is_tuned: bool, folder: str) -> dict[str, Any]:
    plain = {
        "broker_max_poll_records": None,
        "consumer_auto_offset_reset": "earliest",
        "datadir": folder,
        "store": "memory://",
        "topic_partitions": PARTITIONS,
        "topic_disable_leader": True,
        "web_enabled": False,
    }
    if not is_tuned:
        return plain
    return plain | {
        "consumer_max_fetch_size": 4 * 1024 * 1024,
        "producer_linger": 0.05,
        "stream_buffer_maxsize": 16_384,
        "broker_commit_every": 1_000_000,
    }


async def run(app: faust.App) -> None:
    app.finalize()
    await app.start()
    await asyncio.Event().wait()


@click.command()
@click.option("--bootstrap", required=True)
@click.option("--app-id", required=True)
@click.option("--folder", required=True)
@click.option("--events", type=int, required=True)
@click.option("--topics", required=True)
@click.option("--job", type=click.Choice(["nps", "each"]), default="nps")
@click.option("--tuned", "is_tuned", type=bool, default=False)
def main(
    bootstrap: str, app_id: str, folder: str, events: int, topics: str, job: str, is_tuned: bool
) -> None:
    if is_tuned and sys.platform != "win32":
        import mode.loop

        mode.loop.use("uvloop")
    app = faust.App(app_id, broker=f"kafka://{bootstrap}", **settings(is_tuned, folder))
    (tuned if is_tuned else idiomatic)(app, topics.split(","), Counting(job, events))
    asyncio.run(run(app))


if __name__ == "__main__":
    main()
