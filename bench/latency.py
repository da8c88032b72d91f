"""How long it takes from an event to a scraped gauge, with the worker at half of its load.

Probes are NPS answers of a channel that nothing else has, one region for each partition. Each is
sent at a known time; it has arrived when ``cx_nps_denominator`` of its region first counts it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiokafka import AIOKafkaProducer

from bench import worker
from bench.measured import Failed, cpu_seconds
from bench.site import PARTITIONS, Site, wait_a_moment
from stream.clock import now_ms
from stream.core.timestamps import format_ms

PROBE_SECONDS: Final = 0.1
SCRAPE_SECONDS: Final = 0.1
#: What is sent in the first seconds is not looked at: the group and the caches settle.
WARM_SECONDS: Final = 5.0
SECONDS: Final = 30.0
#: So long after the last probe, what has not arrived is lost.
_PATIENCE: Final = 60.0

_PREFIX: Final = "latency."
_ARRIVED: Final = re.compile(
    r'^cx_nps_denominator\{(?=[^}]*channel="probe")(?=[^}]*window="5m")[^}]*region="p(\d+)"[^}]*\}'
    r" (\S+)$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Latency:
    """What was measured; times in ms."""

    #: Events per second that were asked for and that were sent.
    wanted: float
    rate: float
    seconds: float
    probes: int
    p50: float
    p95: float
    p99: float
    longest: float
    #: The mean time that a scrape took.
    scrape: float
    scrapes: int
    #: The worker's CPU seconds per million events, and the cores that it used.
    cpu_per_million: float
    cores: float
    page_kib: float


class Probes:
    """When probes were sent, and when each was first seen, by partition."""

    def __init__(self, partitions: int) -> None:
        self.sent: list[list[float]] = [[] for _ in range(partitions)]
        self.seen: list[list[float]] = [[] for _ in range(partitions)]

    def see(self, page: str, at: float) -> None:
        """Note what a page counts that was complete at ``at``."""
        for partition, value in _ARRIVED.findall(page):
            seen = self.seen[int(partition)]
            seen += [at] * (int(float(value)) - len(seen))

    def complete(self) -> bool:
        """Whether all that was sent was seen."""
        return all(len(a) == len(b) for a, b in zip(self.sent, self.seen, strict=True))

    def latencies(self, since: float) -> list[float]:
        """Seconds of each probe that was sent since then; partitions keep their order."""
        return [
            seen - sent
            for sents, seens in zip(self.sent, self.seen, strict=True)
            for sent, seen in zip(sents, seens, strict=False)
            if sent >= since
        ]


def probe(partition: int, number: int) -> tuple[bytes, bytes]:
    """Key and value of a probe, which occurs now."""
    key = f"probe-{partition}-{number}"
    value = {
        "event_id": key, "type": "survey.responded", "occurred_at": format_ms(now_ms()),
        "labels": {"channel": "probe", "region": f"p{partition}"},
        "response_id": key, "survey": "nps", "score": 10,
    }  # fmt: skip
    return key.encode(), json.dumps(value).encode()


def measure(site: Site, rate: float, seconds: float = SECONDS) -> Latency:
    """Measure with so many events per second; the site's file must hold events.

    Raises:
        Failed: a probe is lost or the load can't be made.
    """
    with worker.started(site, "latency", _PREFIX) as watch:
        watch.until_it_reads()
        load = site.process(
            "paced",
            *("-m", "bench.programs.paced", f"--bootstrap={site.bootstrap}"),
            *(f"--prefix={_PREFIX}", f"--file={site.events_file}"),
            *(f"--rate={rate}", f"--seconds={WARM_SECONDS + seconds}"),
        )
        with load as (process, log):
            began = time.monotonic()
            while "ready" not in log.read_text():
                wait_a_moment(began, "the paced producer", log, process)
            cpu, since = cpu_seconds(watch.pid), time.time() + WARM_SECONDS
            probes, scrapes = asyncio.run(_probe(site, watch, WARM_SECONDS + seconds))
            if process.wait(_PATIENCE) != 0:
                raise Failed(f"the paced producer has failed:\n{log.read_text()[-2000:]}")
            cpu = cpu_seconds(watch.pid) - cpu
            said = json.loads(log.read_text().splitlines()[-1])
    found = np.array(probes.latencies(since)) * 1000
    p50, p95, p99 = np.percentile(found, (50, 95, 99))
    return Latency(
        wanted=rate,
        rate=said["sent"] / said["seconds"],
        seconds=seconds,
        probes=len(found),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        longest=float(found.max()),
        scrape=float(np.mean([took for took, _ in scrapes])) * 1000,
        scrapes=len(scrapes),
        cpu_per_million=cpu / said["sent"] * 1e6,
        cores=cpu / said["seconds"],
        page_kib=scrapes[-1][1] / 1024,
    )


async def _probe(
    site: Site, watch: worker.Watch, seconds: float
) -> tuple[Probes, Sequence[tuple[float, int]]]:
    """Send probes for so many seconds and scrape until all were seen; also each scrape's time."""
    probes = Probes(PARTITIONS)
    scrapes: list[tuple[float, int]] = []
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap)
    await producer.start()
    try:
        sending = asyncio.create_task(_send(producer, probes, seconds))
        deadline = time.monotonic() + seconds + _PATIENCE
        while not (sending.done() and probes.complete()):
            began = time.monotonic()
            page = await asyncio.to_thread(watch.page)
            probes.see(page, time.time())
            took = time.monotonic() - began
            scrapes.append((took, len(page)))
            if time.monotonic() > deadline:
                counts = [(len(a), len(b)) for a, b in zip(probes.sent, probes.seen, strict=True)]
                raise Failed(f"probes (sent, seen) by partition are {counts}")
            await asyncio.sleep(max(0.0, SCRAPE_SECONDS - took))
        await sending
    finally:
        await producer.stop()
    return probes, scrapes


async def _send(producer: AIOKafkaProducer, probes: Probes, seconds: float) -> None:
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < seconds:
        for partition in range(PARTITIONS):
            key, value = probe(partition, number)
            probes.sent[partition].append(time.time())
            await producer.send(f"{_PREFIX}cx.survey", value, key, partition=partition)
        number += 1
        await asyncio.sleep(max(0.0, began + number * PROBE_SECONDS - time.monotonic()))


def told(latency: Latency) -> None:
    """One line on the terminal."""
    print(
        f"  event to scraped gauge at {latency.rate:,.0f} events/s: p50 {latency.p50:,.0f},"
        f" p95 {latency.p95:,.0f}, p99 {latency.p99:,.0f}, longest {latency.longest:,.0f} ms;"
        f" a scrape takes {latency.scrape:,.0f} ms; worker {latency.cores:.2f} cores",
        file=sys.stderr,
    )
