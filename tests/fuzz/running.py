"""Runs a scenario through the core and the reference, and says where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from stream.core.catalogue import FAMILIES, KPIS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.merge import Family
from stream.core.series import Sample
from stream.core.shard import Shard
from stream.core.sharing import Sharing
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import outcomes, settings_of
from tests.fuzz.scenario import Scenario, Step
from tests.reference.comparing import differences
from tests.reference.events import BrokenError, parse
from tests.reference.reading import Reading

_lives = count(1)


class Site:
    """The shards of a scenario, each with its log; they start over together."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.core = settings_of(scenario.config)
        self._logs: list[dict[bytes, bytes]] = [{} for _ in range(scenario.shards or 1)]
        self._start()

    def _start(self) -> None:
        values, given = Values(self.core), self._scenario
        self._values = values
        self.shards = [
            Shard(
                self.core,
                values,
                event_time=not given.shards,
                until=given.until,
                columns=given.columns,
            )
            for _ in self._logs
        ]
        self._writers = [StateLog(shard) for shard in self.shards]
        self._sharing = [
            Sharing(shard, n, f"{next(_lives)}") for n, shard in enumerate(self.shards)
        ]
        self._families = {topic: Family(self.core, len(self.shards)) for topic in FAMILIES}

    def flush(self) -> None:
        """What the shards know is durable."""
        for shard, writer, log in zip(self.shards, self._writers, self._logs, strict=True):
            at = shard.progress.now
            shard.advance(at)
            for key, value in writer.flush(at):
                log.pop(key, None)
                if value is not None:
                    log[key] = value

    def settle(self) -> None:
        """The shards forget what is too old, and tell of what they hold."""
        for shard in self.shards:
            shard.advance(shard.progress.now)
            shard.fold(shard.progress.now)
        if self._scenario.told:
            self._tell()

    def _tell(self) -> None:
        for shard, sharing in zip(self.shards, self._sharing, strict=True):
            now = shard.progress.now
            for topic, records in sharing.collect(now, now).items():
                for key, value in records:
                    self._families[topic].take(key, value)

    def start_over(self) -> None:
        """New shards that know what is in the logs."""
        clock = max(shard.progress.now for shard in self.shards)
        for shard in self.shards:
            shard.close()
        self._start()
        for writer, log in zip(self._writers, self._logs, strict=True):
            writer.recover(log)
        for number, shard in enumerate(self.shards):
            if self._scenario.shards:
                # A clock may be set back, but not while nobody looks.
                shard.ingest(None, [], clock)
            self._sharing[number] = Sharing(shard, number, f"{next(_lives)}")
        if self._scenario.shards:
            # Each has given back places at a time of its own; workers ask the registry instead.
            self._values.free_unused(clock)

    def samples(self, at: int) -> list[Sample]:
        """Every series at a time."""
        for shard in self.shards:
            shard.advance(at)
            shard.fold(at)
        if not self._scenario.told:
            return list(Evaluator(self.core).evaluate([s.share() for s in self.shards], at).samples)
        self._tell()
        found: list[Sample] = []
        for topic, family in self._families.items():
            own = Wanted(frozenset(k.id for k in KPIS.values() if k.topic == topic))
            wanted = {w.label: own for w in self.core.windows}
            found += Evaluator(self.core).evaluate(family.shares(at), at, wanted).samples
        return found


def shard_of(record: bytes, shards: int) -> int:
    """Records of one entity are in one shard, as are bases of one set of labels."""
    try:
        event = parse(record)
    except BrokenError:
        return 0
    if event.type == "subscription.base":
        return sum(map(len, event.labels.values())) % max(1, shards)
    return sum(event.entity.encode()) % max(1, shards)


def findings(scenario: Scenario) -> list[str]:
    """Where the core and the reference differ; an error of the core is a finding too."""
    reading = read(scenario)
    try:
        return list(_findings(scenario, reading))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be made small
        return [f"{type(error).__name__}: {error}"]


def read(scenario: Scenario) -> Reading:
    """What the reference makes of a scenario."""
    reading = Reading(scenario.config, scenario.until)
    for step in scenario.steps:
        if scenario.shards:
            number = shard_of(step.record, scenario.shards)
            reading.read_live(step.record, step.clock, number)
        else:
            reading.read([step.record])
    return reading


def _findings(scenario: Scenario, reading: Reading) -> Iterator[str]:
    site = Site(scenario)
    seen: list[str] = []
    found = _ingest(scenario, site, seen)
    # Replay leaves out what is valid and after its end without a word.
    wanted = [outcome or "accepted" for outcome in reading.outcomes]
    for place, (core, reference) in enumerate(zip(found, wanted, strict=True)):
        if core != reference:
            yield f"record {place + 1}: core {core}, reference {reference}"
    yield from seen
    if reading.t is None or not reading.accepted:
        return
    now = max(shard.progress.now for shard in site.shards)
    if now != reading.t:
        yield f"time: core {now}, reference {reading.t}"
    for after in scenario.after:
        at = reading.t + after
        yield from (f"{after} ms later: {d}" for d in differences(reading, site.samples(at), at))


def _ingest(scenario: Scenario, site: Site, seen: list[str]) -> list[Any]:
    """Read the steps, as many at once as may be; the outcomes. ``seen`` takes differences."""
    found: list[Any] = []
    durable = crashes = 0
    steps, places = scenario.steps, [_place(scenario, step) for step in scenario.steps]
    while len(found) < len(steps):
        first = end = len(found)
        while end < len(steps) and places[end] == places[first]:
            end += 1
            if steps[end - 1].then != "on":
                break
        found += _take(site, places[first], steps[first:end])
        then = steps[end - 1].then
        if then == "look":
            seen += _look(scenario, site, len(found))
        if then in ("settle", "restart"):
            site.settle()
        if then in ("flush", "restart"):
            site.flush()
            durable = len(found)
        if then == "restart" or (then == "crash" and crashes < 3):
            crashes += then == "crash"
            site.start_over()
            del found[durable:]
    return found


def _look(scenario: Scenario, site: Site, n: int) -> Iterator[str]:
    """What differs after n records."""
    reading = read(replace(scenario, steps=scenario.steps[:n]))
    if reading.t is not None and reading.accepted:
        told = differences(reading, site.samples(reading.t), reading.t)
        yield from (f"after {n} records: {one}" for one in told)


def _place(scenario: Scenario, step: Step) -> tuple[int, int]:
    """The shard that reads a step, and when."""
    return shard_of(step.record, scenario.shards), step.clock


def _take(site: Site, place: tuple[int, int], batch: Sequence[Step]) -> list[Any]:
    number, clock = place
    records = [step.record for step in batch]
    if len(site.shards) > 1:
        for other in site.shards:
            other.ingest(None, [], clock)
    return outcomes(records, site.shards[number].ingest(None, records, clock))
