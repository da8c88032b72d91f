"""``cxkpi replay`` of the same events: the core alone, without Kafka and without a state log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from bench.measured import Failed, Measurement, cpu_seconds, peak_mib
from bench.site import Site, wait_a_moment


def measure(site: Site, outcomes: Mapping[str, int]) -> Measurement:
    """Replay the file, less what a replay of an empty file takes."""
    empty = site.folder / "empty.jsonl"
    empty.touch()
    start = _run(site, empty, {})
    whole = _run(site, site.events_file, outcomes)
    return Measurement(
        sum(outcomes.values()),
        whole.cpu - start.cpu,
        whole.seconds - start.seconds,
        whole.peak_mib,
    )


def _run(site: Site, file: Path, wanted: Mapping[str, int]) -> Measurement:
    began = time.monotonic()
    cpu = peak = 0.0
    arguments = ("-m", "stream", "replay", str(file), "--json")
    with site.process("replay", *arguments) as (process, log):
        try:
            while process.poll() is None:
                cpu, peak = cpu_seconds(process.pid), peak_mib(process.pid)
                wait_a_moment(began, "replay", log, process)
        except Failed:
            # It has ended between two looks, or will not; the exit code tells.
            if process.wait(15) != 0:
                raise
        seconds = time.monotonic() - began
    outcomes = json.loads(log.read_text().splitlines()[-1])["outcomes"]
    found = {outcome: n for outcome, n in outcomes.items() if n}
    if found != dict(wanted):
        raise Failed(f"replay has found other outcomes than {dict(wanted)}: {found}")
    return Measurement(sum(wanted.values()), cpu, seconds, peak)
