"""``cxkpi replay`` of the same events: the core alone, without Kafka and without a state log."""

from __future__ import annotations

import json
import time
from pathlib import Path

from bench.measured import Failed, Measurement, cpu_seconds, peak_mib
from bench.site import Site, wait_a_moment


def measure(site: Site, events: int) -> Measurement:
    """Replay the file, less what a replay of an empty file takes."""
    empty = site.folder / "empty.jsonl"
    empty.touch()
    start = _run(site, empty, 0)
    whole = _run(site, site.events_file, events)
    return Measurement(events, whole.cpu - start.cpu, whole.seconds - start.seconds, whole.peak_mib)


def _run(site: Site, file: Path, events: int) -> Measurement:
    began = time.monotonic()
    cpu = peak = 0.0
    arguments = ("-m", "stream", "replay", str(file), "--json")
    with site.process("replay", *arguments) as (process, log):
        try:
            while process.poll() is None:
                cpu, peak = cpu_seconds(process.pid), peak_mib(process.pid)
                wait_a_moment(began, "replay", log, process)
        except (FileNotFoundError, ProcessLookupError, Failed):
            process.wait(15)
        seconds = time.monotonic() - began
    outcomes = json.loads(log.read_text().splitlines()[-1])["outcomes"]
    if outcomes != ({"accepted": events} if events else {}):
        raise Failed(f"replay has not accepted all events: {outcomes}")
    return Measurement(events, cpu, seconds, peak)
