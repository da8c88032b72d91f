"""Runs a schedule of faults against real workers, and judges what they made of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition

from stream.broker import Broker
from stream.core.catalogue import KPIS, TOPICS
from stream.kafka.partitions import partitions
from stream.metrics.exposition import Scraped
from stream.metrics.families import kpi_families
from tests.faults.audit import audit, letter_differences
from tests.faults.compare import differing, probes
from tests.faults.outside import grow, rebuild, set_offsets_back
from tests.faults.schedule import Schedule, Step
from tests.faults.traffic import CART_TIMEOUT, Sending, records_up_to, write_and_abort
from tests.faults.watch import Watch, asleep
from tests.fixtures.proxy import WRITES, Proxy, Way
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_trouble import create
from tests.kafka.topics import Read, records
from tests.kafka.truth import Key, Truth, kpi_series, outcomes
from tests.kafka.workers import WorkerProcess

#: Configuration of the sites that schedules run on.
MORE: Final = f'[cart]\ntimeout = "{CART_TIMEOUT // 60_000}m"\n'
KAFKA: Final = 'transaction_timeout = "20s"'
_FAMILIES: Final = {f.name: f.sample.removesuffix("_quantile") for f in kpi_families(KPIS)}
#: Corrections and last words of each kind.
_PROBES: Final = 150
#: A worker with a mistake that counts nothing for so long has counted all it will, in seconds.
_QUIET_SECONDS: Final = 4.0
#: How a worker may have ended: not, in good order, or killed, which SIGTERM does before it works.
_ENDS: Final = (None, 0, -9, -15)
#: Findings of a run beyond these say nothing new.
_LISTED: Final = 12
#: How long after the last record all series have to be right, in seconds.
_AT_REST_SECONDS: Final = 15.0
_COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "1000",
    "max.message.bytes": str(16 * 1024 * 1024),
}


@dataclass
class Verdict:
    """What a schedule did, what was compared, and what was wrong."""

    schedule: str
    faults: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    events: int = 0
    series: int = 0
    letters: int = 0
    scrapes: int = 0
    step_back: float = 0.0
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)


class Stuck(Exception):
    """A step's condition did not come true."""


class Cluster:
    """The workers of one run, and what is done to them."""

    def __init__(
        self,
        site: Site,
        schedule: Schedule,
        mutation: str = "",
        broker: Broker | None = None,
        proxy: Proxy | None = None,
        patience: float = 40.0,
    ) -> None:
        self._site = site
        self._schedule = schedule
        self._mutation = mutation
        self._broker = broker
        self._proxy = proxy
        self._patience = patience
        self._workers: dict[str, WorkerProcess] = {}
        self._verdict = Verdict(schedule.name)
        self._watch = Watch(self._workers)
        self._sending: Sending | None = None
        self._partitions = schedule.partitions
        #: Past the proxy, where there is one.
        self._bootstrap = broker.bootstrap if broker is not None else site.bootstrap

    def run(self) -> Verdict:
        """Run the schedule to its end, correct what was sent, and judge."""
        began = time.monotonic()
        verdict = self._verdict
        try:
            self._prepare()
            for step in self._schedule.steps:
                _DO[step.do](self, step)
            self._end()
        except (Stuck, AssertionError, TimeoutError, IndexError, KeyError) as error:
            # Of a state that falls apart, too, there is something to say.
            verdict.findings.append(f"{type(error).__name__}: {str(error)[:600]}")
        finally:
            self._watch.stop()
            for worker in self._workers.values():
                worker.kill()
        verdict.findings = verdict.findings[:_LISTED]
        verdict.workers = len(self._workers)
        verdict.findings += self._watch.findings[:5]
        verdict.recoveries = self._watch.recoveries
        verdict.scrapes, verdict.step_back = self._watch.scrapes, self._watch.step_back
        verdict.seconds = time.monotonic() - began
        return verdict

    def _prepare(self) -> None:
        site, schedule = self._site, self._schedule
        create(site, {site.source(t): {} for t in TOPICS}, schedule.partitions)
        if schedule.compacted:
            create(site, {f"{site.group}-state": _COMPACTED}, schedule.partitions)

    def _load(self) -> None:
        """Begin to send."""
        schedule = self._schedule
        now = time.time_ns() // 1_000_000
        sent = records_up_to(now, schedule.records, schedule.seed)
        kafka = self._site.config.kafka.model_copy(update={"bootstrap": self._bootstrap})
        sending = self._sending = Sending(kafka, sent, schedule.seconds)
        self._watch.sent = lambda: sending.sent

    # The end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        assert self._sending is not None
        self._sending.join(self._schedule.seconds + 60)
        source = self._sources()
        if self._mutation:
            # The log and the dead letters say all; what is shown may never be whole.
            self._quiet(len(source))
        else:
            source = self._corrected(source)
        for worker in self._workers.values():
            if worker.exit_code is None:
                worker.terminate()
        self._audit(source, f"{self._site.config.kafka.group}-state")

    def _quiet(self, count: int) -> None:
        """Wait until nothing more is counted, or everything is."""
        counted, since = 0.0, time.monotonic()
        while time.monotonic() - since < _QUIET_SECONDS and not (
            self._watch.complete and self._watch.counted >= count
        ):
            time.sleep(0.1)
            if self._watch.counted != counted or not self._watch.complete:
                counted, since = self._watch.counted, time.monotonic()
            if any(w.exit_code not in _ENDS for w in self._workers.values()):
                return

    def _corrected(self, source: Sequence[Read]) -> list[Read]:
        """Compare, send corrections, compare once more; all records that were sent."""
        self._settled(len(source))
        self._compare_series(source)
        self._watch.only_adding = False
        now = time.time_ns() // 1_000_000
        prefix = self._site.prefix
        said = [(r.topic.removeprefix(prefix), r.value) for r in source]
        self._site.send(*probes(said, now, _PROBES))
        corrected = self._sources()
        self._settled(len(corrected))
        self._compare_series(corrected)
        return corrected

    def _sources(self) -> list[Read]:
        return records(self._bootstrap, [self._site.source(t) for t in TOPICS])

    def _settled(self, count: int) -> None:
        self._until(
            lambda: self._watch.complete and self._watch.counted >= count,
            lambda: f"{self._watch.counted:.0f} of {count} records are counted",
        )

    def _living(self) -> list[WorkerProcess]:
        return [w for w in self._workers.values() if w.exit_code is None and not asleep(w)]

    def _compare_series(self, source: Sequence[Read]) -> None:
        """Every series of all living workers, each at the time that it stands for.

        A cart is abandoned once its shard has seen that nothing came, so that may take a moment.
        """
        truth = Truth(self._site.config.core(), self._site.prefix, source)
        deadline = time.monotonic() + _AT_REST_SECONDS
        wrong, count = self._wrong_series(truth)
        while wrong and time.monotonic() < deadline:
            time.sleep(0.5)
            wrong, count = self._wrong_series(truth)
        self._verdict.series += count
        self._verdict.events = len(source)
        self._verdict.findings += wrong

    def _wrong_series(self, truth: Truth) -> tuple[list[str], int]:
        scraped = self._scraped_at_rest()
        times = {
            s.labels["kpi"]: round(s.value * 1000)
            for s in scraped
            if s.name == "cx_evaluated_timestamp_seconds"
        }
        found, wanted = kpi_series(scraped), dict[Key, float]()
        for at in sorted(set(times.values())):
            mine = {kpi for kpi, t in times.items() if t == at}
            wanted.update({k: v for k, v in truth.series(at).items() if _FAMILIES[k[0]] in mine})
        missing = sorted(set(TOPICS) - {KPIS[kpi].topic for kpi in times})
        return [
            *([f"no series of the KPIs of {', '.join(missing)}"] if missing else []),
            *differing("events", outcomes(scraped), truth.outcomes()),
            *differing("series", found, wanted),
        ], len(wanted)

    def _scraped_at_rest(self) -> list[Scraped]:
        """One scrape of every living worker; none while a KPI is not shown."""
        for _ in range(50):
            scraped = [series for worker in self._living() for series in worker.scrape()]
            if {s.labels["kpi"] for s in scraped if s.name == "cx_evaluated_timestamp_seconds"}:
                return scraped
            time.sleep(0.1)
        raise Stuck("no worker shows series")

    def _audit(self, source: Sequence[Read], state: str) -> None:
        settings, prefix = self._site.config.core(), self._site.prefix
        at = time.time_ns() // 1_000_000
        truth = Truth(settings, prefix, source)
        letters = records(self._bootstrap, [f"{prefix}{t}.dlq" for t in TOPICS])
        said = [(r.topic.removeprefix(prefix), r.value) for r in source]
        last = probes(said, at, _PROBES)
        homes = partitions([key or b"" for _, key, _ in last], self._partitions).tolist()
        self._verdict.letters = len(letters)
        self._verdict.findings += letter_differences(letters, truth)
        self._verdict.findings += audit(
            records(self._bootstrap, [state]),
            source,
            prefix,
            settings,
            truth,
            at,
            list(zip(homes, last, strict=True)),
        )

    # Steps -------------------------------------------------------------------------------------

    def _until(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        deadline = time.monotonic() + self._patience
        while not condition():
            dead = {n: w for n, w in self._workers.items() if w.exit_code not in _ENDS}
            for name, worker in dead.items():
                raise Stuck(f"{name} ended ({worker.exit_code}): {worker.log()[-400:]}")
            if time.monotonic() > deadline:
                logs = "".join(f"\n{n}: {w.log()[-300:]}" for n, w in self._workers.items())
                raise Stuck(f"{what()} after {self._patience:.0f} s{logs}")
            time.sleep(0.05)

    def _fault(self, kind: str) -> None:
        self._verdict.faults[kind] += 1
        self._watch.fault()

    def start(self, step: Step) -> None:
        options = ["--session-ms", str(self._schedule.session_ms)]
        options += ["--control", str(self._order_of(step.worker))]
        if self._schedule.block_budget is not None:
            options += ["--block-budget", str(self._schedule.block_budget)]
        if self._mutation:
            options += ["--mutation", self._mutation]
        module = ("tests.faults.inject", *options)
        worker = self._workers[step.worker] = self._site.worker(module=module)
        if self._sending is None:
            self._until(worker.ready, lambda: f"{step.worker} is not ready")
            self._load()

    def _order_of(self, worker: str) -> str:
        return str(self._site.folder / f"{self._site.group}-{worker}-order")

    def kill(self, step: Step) -> None:
        self._workers[step.worker].kill()
        self._fault("kill -9")

    def terminate(self, step: Step) -> None:
        self._fault("SIGTERM")
        self._workers[step.worker].terminate()

    def freeze(self, step: Step) -> None:
        self._workers[step.worker].freeze()
        self._fault("SIGSTOP")

    def thaw(self, step: Step) -> None:
        self._workers[step.worker].thaw()

    def order(self, step: Step) -> None:
        file = Path(self._order_of(step.worker))
        draft = file.with_suffix(".new")
        draft.write_text(f"{step.point} {step.action} {step.delay_ms} {step.nth}")
        draft.rename(file)

    def obeyed(self, step: Step) -> None:
        """Wait until an order was carried out; one that never can be is given up."""
        file, worker = Path(self._order_of(step.worker)), self._workers[step.worker]

        def done() -> bool:
            if step.action == "kill":
                return worker.exit_code == -9
            if step.action == "freeze":
                return asleep(worker)
            return not file.exists()

        try:
            self._until(done, lambda: f"{step.worker} has not obeyed: {step.action}")
        except Stuck:
            if not self._mutation or not file.exists():
                raise
            file.unlink(missing_ok=True)
        self._fault({"kill": "kill -9 at a point", "freeze": "SIGSTOP at a point"}.get(
            step.action, step.action
        ))  # fmt: skip

    def wait(self, step: Step) -> None:
        time.sleep(step.seconds)

    def joined(self, step: Step) -> None:
        def shared() -> bool:
            names = [n for n, w in self._workers.items() if w.exit_code is None and not asleep(w)]
            shards = [self._watch.shards.get(n, 0) for n in names]
            return all(shards) and sum(shards) == self._partitions

        self._until(shared, lambda: f"shards are {self._watch.shards}")

    def ready(self, step: Step) -> None:
        worker = self._workers[step.worker]
        self._until(worker.ready, lambda: f"{step.worker} is not ready")

    def shown(self, step: Step) -> None:
        self._until(lambda: self._watch.complete, lambda: "not all series are shown")

    def progress(self, step: Step) -> None:
        """Wait for more counted records; what was sent may all be counted already."""
        assert self._sending is not None
        sending, before = self._sending, self._watch.counted

        def gone_on() -> bool:
            more = self._watch.counted - before
            return self._watch.complete and (
                more >= step.records or (sending.is_done and self._watch.counted >= sending.sent)
            )

        self._until(gone_on, lambda: f"counted only {self._watch.counted - before:.0f} more")

    def broker(self, step: Step) -> None:
        assert self._broker is not None
        self._fault(f"broker {step.how}")
        getattr(self._broker, step.how)()
        time.sleep(step.seconds)
        if step.how == "pause":
            self._broker.resume()
        else:
            self._broker.start()

    def proxy(self, step: Step) -> None:
        assert self._proxy is not None
        self._fault(f"acknowledgements {step.how}")
        if step.how == "slow":
            self._proxy.delay(0.7, Way.ANSWERS, apis=WRITES)
        elif step.how == "stalled":
            self._proxy.stall(Way.ANSWERS, apis=WRITES)
        elif step.how == "lost":
            self._proxy.drop(Way.ANSWERS, apis=WRITES)
        elif step.how == "cut":
            self._proxy.cut(Way.ANSWERS, apis=WRITES, times=6)
        else:
            self._proxy.cut(Way.REQUESTS, apis=WRITES, times=6)
        time.sleep(step.seconds)
        self._proxy.heal()

    def forget(self, step: Step) -> None:
        self._fault("committed offsets set back")
        names = [self._site.source(t) for t in TOPICS]
        wanted = [TopicPartition(t, p) for t in names for p in range(self._schedule.partitions)]
        set_offsets_back(self._bootstrap, self._site.config.kafka.group, wanted)

    def grow(self, step: Step) -> None:
        self._fault("sources grown")
        grow(self._bootstrap, [self._site.source(t) for t in TOPICS], step.partitions)
        self._partitions = step.partitions

    def refused(self, step: Step) -> None:
        worker = self._workers[step.worker]
        code, said = worker.wait(self._patience), worker.log().strip().splitlines()
        if code != 2 or "Traceback" in worker.log() or "partitions" not in said[-1]:
            raise Stuck(f"{step.worker} ended ({code}): {worker.log()[-400:]}")
        # It is in good order that it ended so.
        del self._workers[step.worker]

    def rebuild(self, step: Step) -> None:
        rebuild(self._site)
        self._watch.begin_anew()

    def abort(self, step: Step) -> None:
        self._fault("aborted source records")
        topic = self._site.source("cx.visit")
        write_and_abort(self._site.config.kafka, topic, self._schedule.partitions, step.records)


_DO: Final[dict[str, Callable[[Cluster, Step], None]]] = {
    "start": Cluster.start,
    "kill": Cluster.kill,
    "terminate": Cluster.terminate,
    "freeze": Cluster.freeze,
    "thaw": Cluster.thaw,
    "order": Cluster.order,
    "obeyed": Cluster.obeyed,
    "wait": Cluster.wait,
    "joined": Cluster.joined,
    "ready": Cluster.ready,
    "shown": Cluster.shown,
    "progress": Cluster.progress,
    "broker": Cluster.broker,
    "proxy": Cluster.proxy,
    "forget": Cluster.forget,
    "grow": Cluster.grow,
    "refused": Cluster.refused,
    "rebuild": Cluster.rebuild,
    "abort": Cluster.abort,
}


def site_for(sites: Sites, bootstrap: str, *, all_rollups: bool = False) -> Site:
    """A site as schedules need it; fewer rollups are fewer series to print, read and compare."""
    head = "" if all_rollups else 'rollups = [[], ["region"]]'
    return sites(bootstrap, head=head, more=MORE, kafka=KAFKA)
