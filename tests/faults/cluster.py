"""Runs a schedule of faults against real workers, and has it judged what they made of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiokafka import TopicPartition

from stream.broker import Broker
from stream.core.catalogue import TOPICS
from stream.core.state import REMEDY
from stream.kafka.topics import STATE_LIMIT
from tests.faults.judging import Judge
from tests.faults.outside import grow, rebuild, set_offsets_back
from tests.faults.schedule import Schedule, Step
from tests.faults.traffic import CART_TIMEOUT, Sending, records_up_to, write_and_abort
from tests.faults.verdict import STUCK, Verdict, told
from tests.faults.watch import Watch, asleep
from tests.fixtures.proxy import WRITES, Proxy, Way
from tests.kafka.conftest import FLUSH, Site, Sites
from tests.kafka.test_trouble import create
from tests.kafka.workers import Stuck, WorkerProcess

#: Configuration of the sites that schedules run on.
MORE: Final = f'[cart]\ntimeout = "{CART_TIMEOUT // 60_000}m"\n'
KAFKA: Final = 'transaction_timeout = "20s"'
#: A worker with a mistake that counts nothing for so long has counted all it will, in seconds; and
#: one that shows nothing for so long shows nothing.
_QUIET_SECONDS: Final = 4.0
_ABSENT_SECONDS: Final = 40.0
#: A machine on which a worker needs longer until it is ready is a slow one, in seconds.
_READY_SECONDS: Final = 5.0
#: How a worker may have ended: not, in good order, or killed, which SIGTERM does before it works.
_ENDS: Final = (None, 0, -9, -15)
#: Findings of a run beyond these say nothing new.
_LISTED: Final = 12
_COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "1000",
    "max.message.bytes": str(STATE_LIMIT),
}


class Cluster:
    """The workers of one run, and what is done to them."""

    def __init__(
        self,
        site: Site,
        schedule: Schedule,
        mutation: str = "",
        broker: Broker | None = None,
        proxy: Proxy | None = None,
        patience: float = 120.0,
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
        #: For how long is sent.
        self._seconds = 0.0
        self._partitions = schedule.partitions
        #: Past the proxy, where there is one.
        self._bootstrap = broker.bootstrap if broker is not None else site.bootstrap
        self._judge = Judge(site, self._bootstrap, self._workers, self._watch, self._verdict)

    def run(self) -> Verdict:
        """Run the schedule to its end, correct what was sent, and judge."""
        began = time.monotonic()
        verdict = self._verdict
        try:
            self._prepare()
            for step in self._schedule.steps:
                _DO[step.do](self, step)
            self._end()
        except STUCK as error:
            verdict.stuck.append(told(error))
        finally:
            self._watch.stop()
            self._verdict.findings += self._refusals()
            for worker in self._workers.values():
                worker.kill()
        self._audit()
        verdict.findings = verdict.findings[:_LISTED]
        verdict.workers = len(self._workers)
        verdict.findings += self._watch.findings[:5]
        verdict.recoveries = self._watch.recoveries
        verdict.scrapes, verdict.step_back = self._watch.scrapes, self._watch.step_back
        verdict.seconds = time.monotonic() - began
        return verdict

    def _prepare(self) -> None:
        site, schedule = self._site, self._schedule
        for topic in TOPICS:
            create(site, {site.source(topic): {}}, schedule.of(topic))
        if schedule.compacted:
            create(site, {f"{site.group}-state": _COMPACTED}, schedule.partitions)

    def _load(self, slowness: float) -> None:
        """Begin to send; on a slow machine for longer, as what is done meanwhile lasts longer."""
        schedule = self._schedule
        now = time.time_ns() // 1_000_000
        sent = records_up_to(now, schedule.records, schedule.seed)
        kafka = self._site.config.kafka.model_copy(update={"bootstrap": self._bootstrap})
        self._seconds = schedule.seconds * slowness
        sending = self._sending = Sending(kafka, sent, self._seconds)
        self._watch.sent = lambda: sending.sent

    # The end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        assert self._sending is not None
        self._sending.join(self._seconds + 60)
        if self._mutation:
            # The log and the dead letters say all; what is shown may never be whole.
            self._quiet(len(self._judge.sources()))
        else:
            self._judge.compare_corrected(self._settled)
        for worker in self._workers.values():
            if worker.exit_code is None:
                worker.terminate()

    def _audit(self) -> None:
        """Judge what is there, whether or not the run came to its end; nobody writes any more."""
        if self._sending is None:
            return
        try:
            self._sending.join(self._seconds + 60)
            self._judge.audit({t: self._schedule.fewer.get(t, self._partitions) for t in TOPICS})
        except STUCK as error:
            self._verdict.stuck.append(told(error))

    def _refusals(self) -> list[str]:
        """What workers say that have read their state and refuse to go on with it."""
        ended = [(n, w.log().strip()) for n, w in self._workers.items() if w.exit_code == 2]
        return [f"{n} refuses: {log.splitlines()[-1]}" for n, log in ended if REMEDY in log]

    def _quiet(self, count: int) -> None:
        """Wait until nothing more is counted, or everything is; or what is shown stays absent."""
        counted, since = 0.0, time.monotonic()
        deadline = since + _ABSENT_SECONDS
        while time.monotonic() < min(since + _QUIET_SECONDS, deadline) and not (
            self._watch.complete and self._watch.counted >= count
        ):
            time.sleep(0.1)
            if self._watch.counted != counted or not self._watch.complete:
                counted, since = self._watch.counted, time.monotonic()
            if any(w.exit_code not in _ENDS for w in self._workers.values()):
                return

    def _settled(self, count: int) -> None:
        self._until(
            lambda: self._watch.complete and self._watch.counted >= count,
            lambda: f"{self._watch.counted:.0f} of {count} records are counted",
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
        if self._schedule.flush_seconds is not None:
            options += ["--flush-seconds", str(self._schedule.flush_seconds)]
        if self._mutation:
            options += ["--mutation", self._mutation]
        module = ("tests.faults.inject", *options)
        worker = self._workers[step.worker] = self._site.worker(module=module)
        if self._sending is None:
            self._until(worker.ready, lambda: f"{step.worker} is not ready")
            self._load(max(1.0, (time.monotonic() - worker.started) / _READY_SECONDS))

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
        if step.point != "lingering":  # That is the end of a fault.
            self._fault({"kill": "kill -9 at a point", "freeze": "SIGSTOP at a point"}.get(
                step.action, step.action
            ))  # fmt: skip

    def wait(self, step: Step) -> None:
        time.sleep(step.seconds)

    def joined(self, step: Step) -> None:
        def shared() -> bool:
            names = [n for n, w in self._workers.items() if w.exit_code is None and not asleep(w)]
            shards = [self._watch.shards.get(n, 0) for n in names]
            # Of four shards three workers may have two each and none: nobody has more than a share.
            most = math.ceil(self._partitions / max(1, len(names)))
            return sum(shards) == self._partitions and max(shards) <= most

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


def site_for(
    sites: Sites, bootstrap: str, *, all_rollups: bool = False, flush: str = FLUSH
) -> Site:
    """A site as schedules need it; fewer rollups are fewer series to print, read and compare."""
    head = "" if all_rollups else 'rollups = [[], ["region"]]'
    return sites(bootstrap, head=head, more=MORE, kafka=KAFKA, flush=flush)
