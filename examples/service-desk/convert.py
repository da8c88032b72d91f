"""Turns the service desk's log of incident states into events.

    python examples/service-desk/convert.py             # states.csv.gz -> events.jsonl.gz
    python examples/service-desk/convert.py ORIGINAL    # the data set's own CSV -> both

The rule of the mapping stands in README.md beside this file. Standard library only.
"""

# ruff: noqa: INP001 - a script beside its data, no module of a package.
from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path

HERE = Path(__file__).parent
STATES = HERE / "states.csv.gz"
EVENTS = HERE / "events.jsonl.gz"

#: What is kept of the original's 36 columns.
COLUMNS = (
    "number", "incident_state", "reassignment_count", "reopen_count",
    "opened_at", "sys_updated_at", "contact_type", "location",
)  # fmt: skip
#: What is kept of the original's time: four weeks.
END = datetime(2016, 3, 28, tzinfo=UTC)

CLOSED = ("Resolved", "Closed")
WAITING = ("Awaiting User Info",)
REGIONS = 6

Row = dict[str, str]


def time(text: str) -> datetime:
    """A time of the data set, such as ``29/2/2016 01:16``; its zone isn't known, UTC is taken."""
    return datetime.strptime(text, "%d/%m/%Y %H:%M").replace(tzinfo=UTC)


def changes(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows in which an incident's state is another than in the row before."""
    for _, incident in groupby(rows, itemgetter("number")):
        state = None
        for row in incident:
            if row["incident_state"] != state and time(row["sys_updated_at"]) < END:
                state = row["incident_state"]
                yield {column: row[column] for column in COLUMNS}


def reduce(original: Path) -> None:
    """Keep of the original what the events need."""
    with original.open(newline="", encoding="utf-8-sig") as file:
        rows = list(changes(csv.DictReader(file)))
    with io.TextIOWrapper(packed(STATES), newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def packed(path: Path) -> gzip.GzipFile:
    """A gzip file that is the same each time: without name and time."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=path.open("wb"), mtime=0)


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def region(row: Row, large: set[str]) -> str:
    """The location, where it is one of the large ones."""
    place = row["location"]
    return place.lower().replace(" ", "-") if place in large else "elsewhere"


def events_of(rows: list[Row], large: set[str]) -> Iterator[dict[str, object]]:
    """The closes and reopenings of one incident."""
    first = rows[0]
    number, opened = first["number"], time(first["opened_at"])
    since, before = opened, ""
    excluded = timedelta()
    responded: datetime | None = None
    for step, row in enumerate(rows, 1):
        at, state = time(row["sys_updated_at"]), row["incident_state"]
        labels = {"channel": row["contact_type"].lower(), "region": region(row, large)}
        if before in (*WAITING, *CLOSED):
            excluded += at - since
        if responded is None and state != "New":
            responded = at
        head = {"event_id": f"{number}-{step}", "occurred_at": stamp(at), "ticket_id": number}
        if state in CLOSED and before not in CLOSED:
            yield {
                **head, "type": "ticket.closed", "labels": labels, "opened_at": stamp(opened),
                "contacts": 1 + int(row["reassignment_count"]),
                "reopens": int(row["reopen_count"]),
                "excluded_seconds": int(excluded.total_seconds()),
                "first_response_seconds": int(((responded or at) - opened).total_seconds()),
            }  # fmt: skip
        elif state not in CLOSED and before in CLOSED:
            yield {**head, "type": "ticket.reopened", "labels": labels}
        since, before = at, state


def usable(rows: list[Row]) -> bool:
    """Whether an incident's times are in order, its opening first."""
    times = [time(rows[0]["opened_at"]), *(time(row["sys_updated_at"]) for row in rows)]
    return times == sorted(times)


def convert() -> tuple[int, int]:
    """Write the events in order of time; how many they are, how many incidents are left out."""
    with gzip.open(STATES, "rt", newline="", encoding="utf-8") as file:
        incidents = [list(rows) for _, rows in groupby(csv.DictReader(file), itemgetter("number"))]
    places = Counter(rows[0]["location"] for rows in incidents)
    large = {place for place, _ in places.most_common(REGIONS)}
    found: list[dict[str, object]] = []
    left_out = 0
    for rows in incidents:
        if not usable(rows):
            left_out += 1
            continue
        found += events_of(rows, large)
    found.sort(key=lambda event: str(event["occurred_at"]))
    with packed(EVENTS) as out:
        for event in found:
            out.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")
    return len(found), left_out


if __name__ == "__main__":
    for name in sys.argv[1:]:
        reduce(Path(name))
    written, dropped = convert()
    sys.stdout.write(f"{written} events, {dropped} incidents left out\n")
