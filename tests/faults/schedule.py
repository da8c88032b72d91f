"""Schedules of faults as data: what happens to which worker, in which order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.faults.points import Action
from tests.kafka.conftest import FLUSH

Do = Literal[
    "start",  # a worker, waiting for nothing
    "kill",  # with SIGKILL
    "terminate",  # with SIGTERM, and see it end
    "freeze",  # with SIGSTOP
    "thaw",  # with SIGCONT
    "order",  # tell a worker to be hit at a point
    "obeyed",  # wait until it was: carried out, frozen or dead
    "wait",  # some seconds
    "joined",  # wait until the living workers share all shards, and none has more than its part
    "ready",  # wait until a worker is ready, if only to stand by
    "shown",  # wait until all series are shown
    "progress",  # wait until so many more records are counted
    "broker",  # stop or kill the broker and start it again after some seconds
    "proxy",  # have acknowledgements slow, stalled, lost or cut for some seconds
    "forget",  # set the group's committed offsets back to 0; nobody may be in the group
    "grow",  # give the sources so many partitions
    "refused",  # see a worker end with one line that says how to go on
    "rebuild",  # have the state made anew from the sources; nobody may be in the group
    "abort",  # write records to the sources in a transaction, and abort it
]


@dataclass(frozen=True)
class Step:
    """One thing that is done; which fields matter depends on what."""

    do: Do
    worker: str = ""
    seconds: float = 0.0
    records: int = 0
    how: str = ""
    point: str = ""
    action: Action = "kill"
    nth: int = 1
    #: How long after the point the action comes, in ms.
    delay_ms: int = 0
    partitions: int = 0


@dataclass(frozen=True)
class Schedule:
    """What is sent, to workers of which kind, and what happens meanwhile."""

    name: str
    steps: tuple[Step, ...]
    #: Records that are sent, and over how many seconds.
    records: int = 12_000
    seconds: float = 6.0
    #: Bytes of blocks that go with a flush; None: as the product has it.
    block_budget: int | None = None
    #: Whether the state topic is compacted all the time.
    compacted: bool = False
    #: How many partitions a source topic has, unless it is named below.
    partitions: int = 4
    fewer: Mapping[str, int] = field(default_factory=dict)
    #: Whether workers reach the broker through a proxy.
    behind_proxy: bool = False
    #: How often workers flush. Fast, more happens in a run; the default is slower.
    flush: str = FLUSH
    #: The session time-out in ms; stock brokers take no less than 6,000.
    session_ms: int = 3_000
    #: How long a flush may take; None: as long as the product lets it.
    flush_seconds: float | None = None
    seed: int = 1

    def of(self, topic: str) -> int:
        """How many partitions a source topic has at the beginning."""
        return self.fewer.get(topic, self.partitions)


def start(worker: str) -> Step:
    return Step("start", worker)


def kill(worker: str) -> Step:
    return Step("kill", worker)


def thaw(worker: str) -> Step:
    return Step("thaw", worker)


def wait(seconds: float) -> Step:
    return Step("wait", seconds=seconds)


def progress(records: int) -> Step:
    return Step("progress", records=records)


def hit(
    worker: str, point: str, action: Action = "kill", nth: int = 1, delay_ms: int = 0
) -> tuple[Step, Step]:
    """Have a running worker hit at a point, and wait until it was."""
    order = Step("order", worker, point=point, action=action, nth=nth, delay_ms=delay_ms)
    return order, Step("obeyed", worker, point=point, action=action)


def doomed(worker: str, point: str, action: Action = "kill", nth: int = 1) -> tuple[Step, ...]:
    """Start a worker that is hit at a point of its take-over."""
    return (
        Step("order", worker, point=point, action=action, nth=nth),
        start(worker),
        Step("obeyed", worker, action=action),
    )


#: So not all shards have a partition of every topic.
_UNEVEN: Final = {"cx.visit": 1, "cx.cart": 3, "cx.signal": 2}
#: Longer than a session.
_EVICTED: Final = wait(3.3)
#: Two workers have a share of the shards each, and A has something to write when it is frozen. So
#: it is asleep no longer than a flush or a transaction may take, however slow the machine.
_TWO: Final = (start("A"), progress(500), start("B"), Step("joined"), wait(0.5))


def _asleep_at(point: str, nth: int = 3) -> tuple[Step, ...]:
    """A sleeps from a point of a flush on until it is evicted and B has all; then it wakes."""
    return (
        *_TWO,
        *hit("A", point, "freeze", nth),
        _EVICTED,
        Step("joined"),
        progress(300),
        thaw("A"),
        wait(1.5),
        kill("A"),
    )


CASES: Final = {
    s.name: s
    for s in (
        Schedule(
            "unacknowledged",  # Killed between acknowledgement and commit.
            (start("A"), progress(2_000), *hit("A", "commit", nth=3), start("B")),
        ),
        Schedule(
            "committed",  # Killed when dead letters were committed, before anybody knew.
            (start("A"), progress(2_000), *hit("A", "letters"), start("B")),
        ),
        Schedule(
            "answer-lost",  # Committed, but the client says that it failed.
            (
                start("A"),
                progress(1_000),
                *hit("A", "letters", "refuse"),
                wait(0.3),
                *hit("A", "letters", "refuse"),
            ),
        ),
        Schedule(
            "refused",  # Not committed, and the client says so.
            (
                start("A"),
                progress(1_000),
                *hit("A", "commit", "refuse", nth=2),
                wait(0.3),
                *hit("A", "commit", "refuse", nth=3),
            ),
        ),
        Schedule(
            "torn-delivery",  # Chunks get lost or come twice; a producer aborts.
            (
                start("A"),
                progress(500),
                *hit("A", "chunk", "drop"),
                wait(0.4),
                *hit("A", "chunk", "repeat"),
                Step("abort", records=200),
                wait(0.4),
                *hit("A", "chunk", "drop"),
            ),
        ),
        Schedule(
            "zombie",  # Asleep for longer than its session, about to commit.
            _asleep_at("commit"),
            seconds=12.0,
        ),
        Schedule(
            "zombie-with-a-flush",  # Asleep with a flush that it has not begun to write.
            _asleep_at("begin"),
            seconds=12.0,
            fewer=_UNEVEN,
        ),
        Schedule(
            "zombie-with-dead-letters",  # Asleep after a flush with some went to the producer.
            # The client knows all topics by then, so that nothing has left it yet.
            _asleep_at("letters.sent", nth=6),
            records=30_000,
            seconds=30.0,  # There is something to bury when it is time to sleep.
        ),
        Schedule(
            "zombie-in-a-transaction",  # Asleep after its records went to the producer.
            _asleep_at("sent"),
            seconds=12.0,
            compacted=True,
            block_budget=1,
        ),
        Schedule(
            "take-over",  # The owner before, long evicted, writes in the midst of a take-over.
            (
                start("A"),
                progress(500),
                start("B"),
                Step("ready", "B"),
                *hit("A", "begin", "linger", nth=2),
                *hit("B", "between", "freeze"),
                # Unless it goes on, nothing is fenced: so it may last as long as B needs.
                *hit("A", "lingering", "repeat"),
                wait(1.5),
                thaw("B"),
                wait(1.0),
                kill("A"),
            ),
            seconds=12.0,
            partitions=1,  # So there is one that is read and not yet fenced.
            session_ms=4_000,
            flush_seconds=90.0,
        ),
        Schedule(
            "recovery",  # Killed at every stage of a recovery, and in checkpoints.
            (
                start("A"),
                progress(2_000),
                *hit("A", "half", nth=5),
                *doomed("B", "fence.after", nth=2),
                *doomed("C", "read.after"),
                *doomed("D", "fold.after", nth=3),
                start("E"),
                progress(1_000),
                *hit("E", "half", nth=2),
                start("F"),
            ),
            seconds=18.0,
            block_budget=1,
            compacted=True,
            session_ms=2_000,
        ),
        Schedule(
            "sources-grown",  # No shard is what it was: the worker stops, and all is counted anew.
            (
                start("A"),
                progress(2_000),
                Step("grow", partitions=6),
                Step("refused", "A"),
                Step("rebuild"),
                start("B"),
                progress(500),
                kill("B"),
                start("C"),
            ),
            seconds=15.0,
        ),
        Schedule(
            "offsets-lost",  # The group's committed offsets say nothing of what was counted.
            (
                start("A"),
                progress(2_000),
                Step("terminate", "A"),
                Step("forget"),
                start("B"),
                progress(500),
                kill("B"),
                wait(3.5),
                Step("forget"),
                start("C"),
            ),
            seconds=15.0,
        ),
    )
}


def _network(how: str, seconds: float) -> Schedule:
    """Acknowledgements are as ``how`` says for a while, twice; then a worker is killed."""
    away = Step("proxy", how=how, seconds=seconds)
    steps = (start("A"), progress(500), away, Step("shown"), progress(200), away, Step("shown"))
    return Schedule(
        f"acknowledgements-{how}",
        (*steps, kill("A"), start("B")),
        seconds=2 * seconds + 12.0,
        behind_proxy=True,
        session_ms=6_000,
    )


NETWORK: Final = {
    s.name: s
    for s in (
        _network("slow", 6.0),
        _network("stalled", 20.0),  # Longer than a flush may take.
        _network("lost", 6.0),
        _network("cut", 4.0),
        _network("unsent", 4.0),
    )
}

_KILL_AT: Final = ("begin", "sent", "commit", "committed", "letters", "half")
_DIE_IN_RECOVERY_AT: Final = ("fence.before", "fence.after", "read.after", "fold.after")


def rolling(restarts: int) -> Schedule:
    """Each worker is replaced in good order while the load goes on."""
    steps = [start("W0"), progress(500)]
    for number in range(restarts):
        steps += [start(f"W{number + 1}"), Step("joined"), wait(0.5)]
        steps += [Step("terminate", f"W{number}"), wait(1.0)]
    return Schedule("rolling", tuple(steps), 4_000 * restarts, 6.0 * restarts)


def scaled(rounds: int) -> Schedule:
    """1 → 3 → 2 → 1 workers under load, a crash at the end of each round."""
    steps = [start("W0")]
    for n in range(rounds):
        a, b, c, d = f"W{3 * n}", f"W{3 * n + 1}", f"W{3 * n + 2}", f"W{3 * n + 3}"
        steps += [progress(500), start(b), start(c), Step("joined"), Step("terminate", a)]
        steps += [progress(300), kill(b), wait(2.0), start(d), Step("joined"), kill(c)]
    return Schedule("scaled", tuple(steps), 12_000 * rounds, 16.0 * rounds, fewer=_UNEVEN)


def outage(how: str, seconds: float) -> Schedule:
    """The broker goes and comes back."""
    away = Step("broker", how=how, seconds=seconds)
    steps = (start("A"), progress(1_000), away, Step("shown"), progress(500), kill("A"), start("B"))
    return Schedule(f"broker-{how}", steps, 12_000, seconds + 12.0, session_ms=6_000)


def at_random(seed: int, kills: int) -> Schedule:
    """Faults of all kinds at random moments and points, until so many workers were killed."""
    rng = random.Random(seed)
    steps: list[Step] = [start("W0"), progress(300)]
    number, killed, alive = 0, 0, "W0"
    while killed < kills:
        number += 1
        new = f"W{number}"
        fault = rng.choice(["moment", "moment", "point", "point", "recovery", "overlap", "freeze"])
        if fault == "recovery":
            steps += [kill(alive), *doomed(new, rng.choice(_DIE_IN_RECOVERY_AT))]
            killed += 2
            number += 1
            new = f"W{number}"
            steps.append(start(new))
        elif fault == "moment":
            steps += [wait(rng.uniform(0.1, 2.0)), kill(alive), start(new)]
            killed += 1
        elif fault == "point":
            delay = rng.choice([0, 0, 1, 5])
            point, nth = rng.choice(_KILL_AT), rng.randint(1, 6)
            steps += [progress(100), *hit(alive, point, "kill", nth, delay), start(new)]
            killed += 1
        elif fault == "overlap":
            steps += [start(new), wait(rng.uniform(1.0, 4.0)), kill(alive)]
            killed += 1
        else:
            point = rng.choice(["begin", "sent", "commit"])
            steps += [progress(100), *hit(alive, point, "freeze", rng.randint(1, 4)), start(new)]
            steps += [progress(100), thaw(alive), wait(rng.uniform(0.3, 2.0)), kill(alive)]
            killed += 1
        alive = new
    budget = rng.choice([None, 1, 10_000])
    return Schedule(
        f"random-{seed}",
        tuple(steps),
        records=1_500 * kills,
        seconds=4.5 * kills,
        block_budget=budget,
        compacted=True,
        flush=rng.choice([FLUSH, "1s"]),
        seed=seed,
    )
