"""When the registry of values is asked, without a broker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest

from stream.config import Config, KafkaConfig
from stream.config.fields import Between
from stream.core.labels import MAX_VALUE
from stream.core.settings import DAY, Settings
from stream.core.values import REFRESH_MS, Values
from stream.kafka import registry
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.log import FlushFailed, Outgoing
from stream.kafka.registry import ValueRegistry, joined, parted
from stream.kafka.topics import STATE_LIMIT, Names
from stream.kafka.transient import is_transient
from tests.kafka.fakes import KeptWriter
from tests.strategies import NOW

CORE = Settings(dimensions=("channel",), rollups=((),), max_values_per_dimension=10_000)


class Busy(ValueRegistry):
    """A registry that each change of takes so long that another value comes, until it is behind."""

    def __init__(self, values: Values) -> None:
        super().__init__(KafkaConfig(), Names("", "g"), values)
        self.told = 0

    async def _tell(self) -> bool:
        self.told += 1
        asked = self._values.asked()
        after = self._values.propose([])
        if not self.is_behind or self.told < 100:
            self._values.fold((f"v{self.told}", None), 0)
        self._values.decide(after, asked)
        return True


async def test_a_flush_waits_while_values_come_and_asks_for_silence() -> None:
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    busy = Busy(values)
    await busy.settle()
    assert busy.told == 100
    assert not values.is_undecided
    assert not busy.is_behind


class Broken(Busy):
    async def _tell(self) -> bool:
        self.told += 1
        return False


async def test_a_flush_fails_where_the_registry_can_not_be_changed() -> None:
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    broken = Broken(values)
    with pytest.raises(FlushFailed):
        await broken.settle()
    assert not broken.is_behind


class Unreachable:
    """A writer whose broker does not answer."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.started = self.stopped = 0

    async def start(self) -> None:
        self.started += 1
        raise self._error

    async def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize(
    ("error", "raised", "tries"),
    [
        (ConnectionRefusedError(), FlushFailed, registry._TRIES),
        # It was waited for already, as long as for all tries together.
        (BrokerUnreachable("no coordinator"), BrokerUnreachable, 1),
    ],
)
async def test_a_broker_that_does_not_answer_fails_the_flush_and_not_the_worker(
    error: Exception, raised: type[Exception], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = Unreachable(error)
    monkeypatch.setattr(registry, "TransactionalWriter", lambda *_: unreachable)
    monkeypatch.setattr(registry, "_BACKOFF_SECONDS", 0.0)
    values = Values(CORE, shared=True)
    values.decide([{}], [])
    values.fold(("v", None), 0)
    asked = ValueRegistry(KafkaConfig(), Names("", "g"), values)
    with pytest.raises(raised) as failed:
        await asked.settle()
    assert is_transient(failed.value)
    assert (unreachable.started, unreachable.stopped) == (tries, tries)
    assert values.is_undecided
    assert not asked.is_behind


# What is written ------------------------------------------------------------------------------

#: As long as a value may be, in the longest characters; each is another.
LONGEST = "\U0001f600" * (MAX_VALUE - 6)


def test_as_many_values_as_may_be_configured_fit_into_records() -> None:
    field = Config.model_fields["max_values_per_dimension"]
    most = int(next(m.high for m in field.metadata if isinstance(m, Between)))
    stored = {
        "channel": {f"{n:06}{LONGEST}": NOW + n for n in range(most)},
        "empty": {},
        "region": {f"{n:06}{LONGEST}": NOW - n for n in range(most // 10)},
    }
    records = parted(stored)
    assert sum(map(len, records.values())) > STATE_LIMIT
    assert max(len(key) + len(value) for key, value in records.items()) < STATE_LIMIT * 2 // 3
    found = joined(records)
    assert found == stored
    # Those accepted first are kept, so their order counts.
    assert [list(values) for values in found.values()] == [list(v) for v in stored.values()]


def test_what_fits_into_one_record_is_one_as_it_always_was() -> None:
    stored = {"channel": {f"value-{n}": NOW + n for n in range(100_000)}, "region": {}}
    record = {b"values": msgspec.msgpack.encode(stored)}
    assert parted(stored) == record
    assert joined(record) == stored


class Broker:
    """Keeps the registry's topic, and what each transaction wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: dict[bytes, bytes] = {}
        self.written: list[set[bytes]] = []
        broker = self

        class Writer(KeptWriter):
            async def start(self) -> None: ...

            async def write(self, records: Iterable[Outgoing]) -> None:
                kept = {r.key: r.value for r in records if r.key is not None}
                broker.written.append(set(kept))
                broker.log = {k: v for k, v in (broker.log | kept).items() if v is not None}

        async def read_log(*_: object) -> dict[bytes, bytes]:
            return dict(broker.log)

        monkeypatch.setattr(registry, "TransactionalWriter", Writer)
        monkeypatch.setattr(registry, "read_log", read_log)


async def test_only_records_that_become_others_are_written_and_all_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "PART_BYTES", 200)
    broker = Broker(monkeypatch)

    async def told(names: Iterable[str], at: int) -> None:
        values = Values(CORE, shared=True)
        told = ValueRegistry(KafkaConfig(), Names("", "g"), values)
        await told.read()
        for name in names:
            values.fold((name, None), at)
        await told.settle()

    await told([f"v{n}" for n in range(40)], NOW)
    first = {b"values", *(b"values/%d" % n for n in range(1, len(broker.log)))}
    assert broker.log.keys() == first == broker.written[-1]
    assert len(first) == 3
    await told(["another"], NOW)
    assert len(broker.written[-1]) == 1
    assert joined(broker.log)["channel"].keys() == {*(f"v{n}" for n in range(40)), "another"}
    # What was turned down changes nothing, and who was fenced must still find out.
    values = Values(replace(CORE, max_values_per_dimension=1), shared=True)
    full = ValueRegistry(KafkaConfig(), Names("", "g"), values)
    values.fold(("one too many", None), NOW)
    await full.settle()
    assert broker.written[-1] == {b"values"}
    assert not values.is_undecided
    # Where fewer are left there are fewer records.
    later = NOW + CORE.memory_ms + 2 * REFRESH_MS
    values = Values(replace(CORE, max_values_per_dimension=1), shared=True)
    values.fold(("v0", None), later)
    values.fold(("of now", None), later)
    values.watch(lambda: [(("v0", None), later), (("of now", None), later)])
    await ValueRegistry(KafkaConfig(), Names("", "g"), values).settle()
    assert broker.log.keys() == {b"values"}
    assert joined(broker.log)["channel"] == {"v0": later}


async def test_values_of_a_dimension_that_only_other_workers_have_keep_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or all that was ever counted by them would become ``other`` while a change is rolled out."""
    broker = Broker(monkeypatch)
    two = replace(CORE, dimensions=("channel", "region"))

    async def told(core: Settings, segment: tuple[str | None, ...], at: int) -> Values:
        values = Values(core, shared=True)
        told = ValueRegistry(KafkaConfig(), Names("", "g"), values)
        await told.read()
        values.fold(segment, at)
        await told.settle()
        return values

    await told(two, ("web", "eu", None), NOW)
    await told(CORE, ("app", None), NOW + 1)
    await told(replace(CORE, dimensions=("plan",)), ("pro", None), NOW + 2)
    assert joined(broker.log) == {
        "channel": {"web": NOW, "app": NOW + 1},
        "region": {"eu": NOW},
        "plan": {"pro": NOW + 2},
    }
    # What nobody accepts any more is dropped with the dimension that nobody has.
    later = NOW + 366 * DAY + 2
    await told(CORE, ("late", None), later)
    assert list(joined(broker.log)) == ["plan", "channel"]


async def test_a_topic_that_was_made_anew_or_cut_back_is_told_again_what_it_held(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or all that was ever counted by values that it lost would become ``other``."""
    broker = Broker(monkeypatch)
    values = Values(CORE, shared=True)
    told = ValueRegistry(KafkaConfig(), Names("", "g"), values)
    await told.read()

    async def accepted(name: str) -> None:
        values.fold((name, None), NOW)
        await told.settle()

    await accepted("first")
    early = dict(broker.log)
    await accepted("second")
    assert caplog.messages == []
    broker.log = {}
    await accepted("third")
    assert joined(broker.log) == {"channel": {"first": NOW, "second": NOW, "third": NOW}}
    broker.log = early
    await accepted("fourth")
    assert list(joined(broker.log)["channel"]) == ["first", "second", "third", "fourth"]
    assert caplog.messages == [
        f"topic g-values lacks {n} values, which are told again: it was made anew or has lost"
        " records, or a worker with shorter windows has freed their places"
        for n in (2, 2)
    ]
    assert values.generation == 0
