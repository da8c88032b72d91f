"""Alerts of live workers are those of a replay, and those of the core on what the workers saw."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.broker import Broker
from stream.core.alerts import Change
from stream.core.catalogue import KPIS
from stream.core.series import Evaluation
from stream.core.settings import SECOND, Settings
from stream.core.timestamps import parse
from tests.e2e import commands
from tests.faults import recording
from tests.faults.recording import changes_of, committed_states, keep_all_states
from tests.kafka import moving
from tests.kafka.conftest import Site, Sites
from tests.kafka.workers import WorkerProcess

EVERY = SECOND
#: A stream whose records come later than this is not prompt, in seconds.
MOST_LATE = 0.7
#: How often a machine may be too busy.
TRIES = 3
#: A change: of which alert, from what to what.
Alert = tuple[str, str]
Moves = dict[Alert, list[tuple[str, str, int]]]


def moves(changes: Iterable[Mapping[str, Any]], at: str) -> Moves:
    """(from, to, time in ms) of each alert's changes, in order."""
    found: Moves = defaultdict(list)
    for change in changes:
        alert = change["rule"], json.dumps(change["labels"], sort_keys=True)
        found[alert].append((change["from"], change["to"], parse(change[at])))
    return found


def recorded(site: Site, name: str) -> tuple[WorkerProcess, Path]:
    """A worker whose evaluations are recorded, and the file of them."""
    file = site.folder / f"{site.group}-{name}.recorded"
    return site.worker(module=("tests.faults.inject", "--record", str(file))), file


def are_at_it(workers: Iterable[tuple[WorkerProcess, Path]], settings: Settings) -> bool:
    """Whether all workers evaluate rules, all of them together."""
    lately = time.time_ns() // 10**6 - 2 * EVERY
    own = [recording.read([file]) for _, file in workers]
    active = [{family for family, es in seen.items() if es[-1].at > lately} for seen in own]
    families = {KPIS[rule.kpi].topic for rule in settings.rules}
    return all(active) and set().union(*active) == families


def check_like_replay(live: list[Change], site: Site, file: Path, end: int) -> None:
    """Every alert goes the same way, each change within one evaluation."""
    ran = commands.run("replay", file, "--config", site.file, "--alerts", "--json")
    wanted = moves(json.loads(ran.stdout), "at")
    found = moves(
        (msgspec.to_builtins(c) for c in live if parse(c.changed_at) <= end), "changed_at"
    )
    assert {a: [m[:2] for m in ms] for a, ms in found.items()} == {
        a: [m[:2] for m in ms] for a, ms in wanted.items()
    }
    for alert, steps in wanted.items():
        for was, (*_, at) in zip(found[alert], steps, strict=True):
            assert abs(was[2] - at) <= EVERY, (alert, was, at)
    rules = {rule.name for rule in site.config.core().rules}
    assert {rule for rule, _ in wanted} == rules
    assert ("TooFew", '{"channel": "fax"}') not in wanted
    assert {to for ms in wanted.values() for _, to, _ in ms} == {"pending", "firing", "resolved"}


@dataclass(frozen=True)
class Run:
    """What became of the stream with two workers."""

    site: Site
    start: int
    #: The stream as a file.
    file: Path
    live: list[Change]
    seen: Mapping[str, list[Evaluation]]
    #: How late the latest record was there, in seconds.
    late: float

    @property
    def end(self) -> int:
        return self.start + moving.LENGTH

    @property
    def is_prompt(self) -> bool:
        """Whether the machine had time for it all."""
        times = set(range(self.start, self.end + 1, EVERY))
        left_out = [times - {e.at for e in evaluations} for evaluations in self.seen.values()]
        return self.late < MOST_LATE and not any(left_out)


def run(site: Site) -> Run:
    workers = [recorded(site, "first"), recorded(site, "second")]
    first = workers[0][0]
    first.until(lambda: are_at_it(workers, site.config.core()), "shared with the second")
    keep_all_states(site.bootstrap, site.group)
    start = moving.soon()
    stream = list(moving.records(start))
    file = site.folder / f"{site.group}.jsonl"
    file.write_bytes(b"".join(r[3] + b"\n" for r in stream))
    late = moving.send(site.config.kafka, stream)
    time.sleep(max(0.0, (start + moving.LENGTH) / SECOND + 1.5 - time.time()))
    for worker, _ in workers:
        worker.terminate()
    return Run(
        site,
        start,
        file,
        changes_of(site.bootstrap, site.prefix),
        recording.read(f for _, f in workers),
        late,
    )


@pytest.mark.timeout(900)
def test_a_live_run_makes_the_changes_of_a_replay_and_of_its_recorded_samples(
    sites: Sites, broker: Broker
) -> None:
    for _ in range(TRIES):
        made = run(sites(broker.bootstrap, head=moving.HEAD, more=moving.CONFIGURATION))
        told = recording.retell(
            made.site.config.core(),
            made.seen,
            committed_states(made.site.bootstrap, made.site.group),
        )
        assert recording.decided(told.changes) == recording.decided(made.live)
        assert told.unseen == []
        if made.is_prompt:
            assert told.dropped == 0
            check_like_replay(made.live, made.site, made.file, made.end)
            return
    pytest.skip("the machine is too busy to send and evaluate in time")
