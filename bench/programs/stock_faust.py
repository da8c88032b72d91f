"""Rolling NPS in stock Faust, as its documentation shows it: an agent and a windowed table.

Over the last five minutes, by segment (20 of them: channel × region), in panes of five seconds that
a reader would sum up; the table is in memory and has a changelog. A hopping window would write 60
records per answer. Two workloads on the same events of all types:

- ``nps``: what is no answer to an NPS survey is decoded and left alone;
- ``each``: every event adds to the windowed counters of its type and segment, which is the least
  that any rolling KPI of that event takes.

``--tuned`` decodes with msgspec instead of ``faust.Record``, keeps panes in the keys of a plain
table, and uses the settings that helped.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import datetime, timedelta
from typing import Any, Final, Optional, cast

import click
import faust
import msgspec

from bench.measured import peak_mib
from bench.site import PARTITIONS
from stream.core.catalogue import TOPICS

PANE: Final = 5
WINDOW: Final = 300


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


class Progress:
    """Measures from the first event to the last one, then ends the program."""

    def __init__(self, events: int) -> None:
        self._wanted = events
        self._seen = 0
        self._cpu = self._began = 0.0

    def event(self) -> None:
        if not self._seen:
            self._cpu, self._began = time.process_time(), time.monotonic()
        self._seen += 1
        if self._seen > self._wanted:
            result = {
                "events": self._wanted,
                "cpu": time.process_time() - self._cpu,
                "seconds": time.monotonic() - self._began,
                "peak_mib": peak_mib(),
            }
            print(json.dumps(result), flush=True)
            # A stop in good order would take seconds and tell nothing.
            os._exit(0)


def key_of(event: Event | SlimEvent, job: str) -> str | None:
    """The table's key that the event adds to; None where it does not count."""
    labels = event.labels or {}
    segment = f"{labels.get('channel')}/{labels.get('region')}"
    if job == "each":
        return f"{event.type}/{segment}"
    return segment if event.survey == "nps" else None


def with_event(counts: list[int], event: Event | SlimEvent) -> list[int]:
    """Promoters, detractors and contributions with one more."""
    score = event.score or 0.0
    promoters, detractors, n = counts
    return [promoters + (score >= 9), detractors + (score < 7), n + 1]


def nothing() -> list[int]:
    return [0, 0, 0]


def idiomatic(app: faust.App, job: str, progress: Progress) -> None:
    source = app.topic(*TOPICS, value_type=Event)
    table: Any = (
        app.Table("nps", default=nothing, partitions=PARTITIONS)
        .tumbling(timedelta(seconds=PANE), expires=timedelta(seconds=2 * WINDOW))
        .relative_to_field(cast("Any", Event.occurred_at))
    )

    @app.agent(source)
    async def count(events: Any) -> None:
        async for event in events:
            key = key_of(event, job)
            if key is not None:
                table[key] = with_event(table[key].value(), event)
            progress.event()


def tuned(app: faust.App, job: str, progress: Progress) -> None:
    source = app.topic(*TOPICS, value_type=bytes, value_serializer="raw", key_serializer="raw")
    table: Any = app.Table("nps", default=nothing, partitions=PARTITIONS)
    decode = msgspec.json.Decoder(SlimEvent).decode

    @app.agent(source)
    async def count(values: Any) -> None:
        async for value in values:
            event = decode(value)
            key = key_of(event, job)
            if key is not None:
                pane = int(event.occurred_at.timestamp()) // PANE
                key = f"{key}/{pane}"
                table[key] = with_event(table[key], event)
            progress.event()


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
@click.option("--job", type=click.Choice(["nps", "each"]), default="nps")
@click.option("--tuned", "is_tuned", type=bool, default=False)
def main(bootstrap: str, app_id: str, folder: str, events: int, job: str, is_tuned: bool) -> None:
    if is_tuned and sys.platform != "win32":
        import mode.loop

        mode.loop.use("uvloop")
    app = faust.App(app_id, broker=f"kafka://{bootstrap}", **settings(is_tuned, folder))
    (tuned if is_tuned else idiomatic)(app, job, Progress(events))
    asyncio.run(run(app))


if __name__ == "__main__":
    main()
