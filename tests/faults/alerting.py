"""Workers whose alerts change all the time are killed, frozen and replaced; each change is once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from stream.config import KafkaConfig
from stream.core.alerts import Change
from stream.core.alerts.change import change_id
from stream.core.catalogue import KPIS
from stream.core.timestamps import format_ms, parse
from stream.kafka.producer import EventProducer
from stream.replay.recorded import address
from tests.faults import recording
from tests.faults.compare import Message
from tests.faults.outside import await_transactions
from tests.faults.recording import changes_of, committed_states, keep_all_states
from tests.faults.verdict import STUCK, Verdict, told
from tests.kafka.conftest import Site, Sites
from tests.kafka.workers import Stuck, WorkerProcess

#: What is done to the owner of all alerts, before or while another takes them over.
Fault = Literal["moment", "commit", "committed", "zombie", "linger", "terminate", "overlap"]
FAULTS: Final[tuple[Fault, ...]] = (
    "moment",  # Killed at some moment.
    "commit",  # Killed between acknowledgement and commit.
    "committed",  # Killed when a change was committed, before anybody knew.
    "zombie",  # Asleep with a change that it has not begun to write until another has all.
    "linger",  # The same, awake, and it never learns that it is out of the group.
    "terminate",  # Ended in good order.
    "overlap",  # Killed while another takes over a part.
)

HEAD: Final = 'evaluate = "500ms"\nrollups = [[], ["region"]]'
#: Values swing through all of these within seconds.
MORE: Final = """
[[window]]
size = "2s"
pane = "1s"

[[alert]]
name = "AtOnce"
kpi = "conversion"
window = "2s"
by = ["region"]
above = 0.5
min_samples = 5

[[alert]]
name = "Slowly"
kpi = "conversion"
window = "2s"
above = 0.4
clear = 0.3
for = "500ms"
keep_firing_for = "500ms"
min_samples = 5

[[alert]]
name = "Unhappy"
kpi = "csat"
window = "2s"
below = 0.5
min_samples = 5
on_no_data = "resolve"
"""
_SESSION_MS: Final = 2_000
_EVERY_SECONDS: Final = 0.1
_PATIENCE: Final = 120.0
_SOON: Final = 6.0
_LISTED: Final = 12


def site_for(sites: Sites, bootstrap: str) -> Site:
    """A site whose alerts change all the time."""
    return sites(bootstrap, head=HEAD, more=MORE)


class Swinging:
    """Sends events whose KPIs swing, in a thread of its own, until it is told to stop."""

    def __init__(self, kafka: KafkaConfig, seed: int) -> None:
        self._kafka = kafka
        self._rng = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        period = 1.5
        async with EventProducer(self._kafka) as producer:
            for number in count():
                if self._ended.is_set():
                    return
                swing = int(time.time() / period)
                await producer.write([self._event(number, i, swing) for i in range(12)])
                await producer.submit()
                await asyncio.sleep(_EVERY_SECONDS)

    def _event(self, number: int, i: int, swing: int) -> Message:
        name, at = f"{number}-{i}", format_ms(time.time_ns() // 10**6)
        region = ("eu", "us")[i % 2]
        up = (swing + i % 2) % 2 == 0
        often = 0.95 if up else 0.05
        event: dict[str, Any] = {"event_id": name, "occurred_at": at, "labels": {"region": region}}
        if i % 3:
            converted = self._rng.random() < (often if i % 4 else 0.95 * (swing % 3 == 0))
            event |= {"type": "visit.ended", "visit_id": name, "converted": converted}
        else:
            score = 5 if swing % 2 else 1
            event |= {"type": "survey.responded", "survey": "csat", "score": score}
            event["response_id"] = name
        return address(orjson.dumps(event))


class Alerting:
    """One owner of all alerts after the other."""

    def __init__(self, site: Site, mutation: str = "", seed: int = 1) -> None:
        self._site = site
        self._mutation = mutation
        self._rng = random.Random(seed)
        self._workers: list[WorkerProcess] = []
        self._records: list[Path] = []
        self._orders: list[Path] = []
        #: The one that has all alerts, or will have.
        self._owner = 0
        #: How often a point is passed until the owner is hit there: one that writes in two steps
        #: must be hit after either.
        self._passes = cycle((1, 2, 3))
        self._verdict = Verdict("alerts")

    def run(self, faults: Sequence[Fault]) -> Verdict:
        """Do one thing after the other, and judge."""
        began, verdict = time.monotonic(), self._verdict
        swinging: Swinging | None = None
        try:
            self._start()
            self._until(self._is_at_it, "evaluated rules")
            keep_all_states(self._site.bootstrap, self._site.group)
            swinging = Swinging(self._site.config.kafka, self._rng.randrange(1 << 30))
            for fault in faults:
                self._changes()
                self._do(fault)
            self._changes()
            swinging.stop()
            self._workers[self._owner].terminate()
        except STUCK as error:
            verdict.stuck.append(told(error))
        finally:
            if swinging is not None:
                swinging.stop()
            for worker in self._workers:
                worker.kill()
        try:
            self._judge()
        except STUCK as error:
            verdict.stuck.append(told(error))
        verdict.workers = len(self._workers)
        verdict.seconds = time.monotonic() - began
        return verdict

    def _start(self) -> None:
        base = self._site.folder / f"{self._site.group}-{len(self._workers)}"
        record, order = base.with_suffix(".recorded"), base.with_suffix(".order")
        options = ["--session-ms", f"{_SESSION_MS}", "--control", f"{order}"]
        options += ["--record", f"{record}"]
        if self._mutation:
            options += ["--mutation", self._mutation]
        self._records.append(record)
        self._orders.append(order)
        self._workers.append(self._site.worker(module=("tests.faults.inject", *options)))
        self._owner = len(self._workers) - 1

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        self._workers[self._owner].until(condition, what, _PATIENCE)

    def _latest(self, number: int) -> int:
        """When a worker has evaluated all rules last (ms); 0 where it never has."""
        seen = recording.read([self._records[number]])
        families = {KPIS[rule.kpi].topic for rule in self._site.config.core().rules}
        return min(es[-1].at for es in seen.values()) if seen.keys() == families else 0

    def _is_at_it(self, since: int = 0) -> bool:
        """Whether the owner has evaluated all rules, at a time that is later (ms)."""
        return self._latest(self._owner) > since

    def _changes(self) -> None:
        """Let alerts change some times."""
        time.sleep(self._rng.uniform(2.0, 3.5))

    def _do(self, fault: Fault) -> None:
        self._verdict.faults[fault] += 1
        worker, began = self._workers[self._owner], time.monotonic()
        since = time.time_ns() // 10**6
        if fault in ("zombie", "linger"):
            worker = self._hold("freeze" if fault == "zombie" else "linger")
            began, since = time.monotonic(), time.time_ns() // 10**6
        elif fault == "overlap":
            self._start()
            time.sleep(self._rng.uniform(1.0, 4.0))
            worker.kill()
        else:
            if fault in ("commit", "committed"):
                is_dead = self._hit(f"alerts.{fault}", "kill", _PATIENCE)
                assert is_dead, "nobody writes alerts"
            elif fault == "terminate":
                worker.terminate()
            else:
                worker.kill()
            self._start()
        self._until(lambda: self._is_at_it(since), "taken over all alerts")
        self._verdict.recoveries.append(time.monotonic() - began)
        if fault in ("zombie", "linger"):
            time.sleep(0.5)
            self._let_go(worker, fault)
            time.sleep(1.5)
            worker.kill()

    def _hold(self, action: Literal["freeze", "linger"]) -> WorkerProcess:
        """Have the owner stop where it is while another that stands by takes over; who stopped.

        So it goes on before a write takes longer than one may.
        """
        former = self._owner
        self._start()
        self._until(self._workers[-1].ready, "joined")
        self._changes()
        deadline = time.monotonic() + _PATIENCE
        while True:
            # Which of the two has all alerts is the group's choice, and may change.
            self._owner = max((former, len(self._workers) - 1), key=self._latest)
            held = self._workers[self._owner]
            if self._hit("alerts.begin", action, _SOON):
                break
            assert time.monotonic() < deadline, "nobody writes alerts"
        self._owner = former if self._owner != former else len(self._workers) - 1
        return held

    def _let_go(self, worker: WorkerProcess, fault: Fault) -> None:
        """Have a worker that was held go on.

        Raises:
            Stuck: its write was given up before, so that nothing would be fenced.
        """
        if fault == "zombie":
            worker.thaw()
            return
        number = self._workers.index(worker)
        self._order(number, "lingering repeat 0 1")
        if not self._is_obeyed(number, _SOON):
            raise Stuck("the write that lingered was given up")

    def _order(self, number: int, order: str) -> None:
        file = self._orders[number]
        draft = file.with_suffix(".new")
        draft.write_text(order)
        draft.rename(file)

    def _hit(self, point: str, action: str, patience: float) -> bool:
        """Have the owner hit at a point; whether it was."""
        self._order(self._owner, f"{point} {action} 0 {next(self._passes)}")
        return self._is_obeyed(self._owner, patience)

    def _is_obeyed(self, number: int, patience: float) -> bool:
        """Whether an order is carried out in time; else it is withdrawn."""
        order = self._orders[number]
        deadline = time.monotonic() + patience
        while order.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        # Whoever carries an order out takes it away.
        try:
            order.rename(order.with_suffix(".withdrawn"))
        except FileNotFoundError:
            time.sleep(0.1)
            return True
        return False

    def _judge(self) -> None:
        site, verdict = self._site, self._verdict
        await_transactions(site.bootstrap, [f"{site.group}-alerts", f"{site.prefix}cx.alert"])
        changes = changes_of(site.bootstrap, site.prefix)
        seen = recording.read(self._records)
        told = recording.retell(
            site.config.core(), seen, committed_states(site.bootstrap, site.group)
        )
        verdict.events = len(changes)
        verdict.findings += wrong_chains(changes)
        verdict.findings += [f"no evaluation explains {at}" for at in told.unseen]
        if recording.decided(changes) != recording.decided(told.changes):
            wanted, found = {c.id for c in told.changes}, [c.id for c in changes]
            verdict.findings += [f"{c.id} is not due" for c in changes if c.id not in wanted]
            verdict.findings += [f"{c} is missing" for c in wanted.difference(found)]
            verdict.findings.append(f"{len(changes)} changes, not {len(told.changes)}")
        verdict.findings = verdict.findings[:_LISTED]


def wrong_chains(changes: Iterable[Change]) -> list[str]:
    """Changes that are there twice, do not follow from the one before, or are not called so."""
    wrong, ids = [], set[str]()
    phases: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[str, int]] = {}
    for c in changes:
        labels = tuple(sorted(c.labels.items()))
        phase, before = phases.get((c.rule, labels), ("inactive", -1))
        at = parse(c.changed_at)
        what = f"{c.rule} {dict(labels)} from {c.from_} to {c.to} at {c.changed_at}"
        if c.id in ids:
            wrong.append(f"{what} is there twice")
        if c.from_ != phase:
            wrong.append(f"{what} was {phase} before")
        if at <= before:
            wrong.append(f"{what} comes after one at {format_ms(before)}")
        if c.id != change_id(c.rule, labels, at, c.to):
            wrong.append(f"{what} has the id of another")
        ids.add(c.id)
        phases[c.rule, labels] = "inactive" if c.to == "resolved" else c.to, at
    return wrong
