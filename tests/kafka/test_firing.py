"""What fires, by the log that the owners of KPI families write: exact, whatever became of them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, OffsetOutOfRangeError

from stream.broker import Broker
from stream.broker.ports import free_port
from stream.config import KafkaConfig
from stream.core.alerts import AlertState, AlertStates, Change
from stream.core.alerts.machine import Watched
from stream.core.settings import Rule
from stream.kafka import firing as fires
from stream.kafka.alert_log import AlertLog, firing_in
from stream.kafka.firing import FiringAlerts
from stream.kafka.topics import Names, prepare
from tests.kafka.topics import records, until_closed
from tests.sinks.receiver import change

_numbers = itertools.count(1)
#: 2026-05-04T08:00:00Z
STARTED = 1_777_881_600_000
RULES = {
    name: Rule(name=name, kpi="csat", window="5m", by=("region",), below=0.5, severity="critical")
    for name in ("CsatLow", "NpsLow")
}


def state(region: str, rule: str = "CsatLow", phase: str = "firing") -> AlertState:
    made = AlertState(rule, (("region", region),), "firing", STARTED, STARTED + 5_000)
    return msgspec.structs.replace(made, phase=phase)


def fired(region: str, rule: str = "CsatLow") -> Change:
    return msgspec.structs.replace(change(), rule=rule, labels={"region": region})


def log_of(*states: AlertState) -> dict[bytes, bytes]:
    return {b"cx.survey": msgspec.json.encode(AlertStates(1, states))}


def test_the_states_say_what_fires_where_nothing_else_is_known() -> None:
    (found,) = firing_in(
        log_of(state("eu"), state("us", phase="pending"), state("a", phase="inactive"))
    )
    assert found == (state("eu"), None)


def test_what_can_not_be_read_says_nothing() -> None:
    log = log_of(state("eu")) | {b"cx.cart": b"rubbish", b"firing cx.survey rubbish": b"rubbish"}
    assert [s.labels for s, _ in firing_in(log)] == [(("region", "eu"),)]


def test_what_fires_follows_the_owners_of_two_families(broker: Broker) -> None:
    number = next(_numbers)
    kafka = KafkaConfig(
        bootstrap=broker.bootstrap, group=f"firing-{number}", topic_prefix=f"firing-{number}-"
    )
    names = Names(kafka.topic_prefix, kafka.group)

    async def following() -> None:
        await prepare(kafka)
        survey, cart = AlertLog(kafka, names, "cx.survey"), AlertLog(kafka, names, "cx.cart")
        firing = FiringAlerts(kafka, names, RULES)

        async def fires(*expected: tuple[str, str]) -> None:
            """What was committed may take a moment to be seen."""
            found = None
            for _ in range(600):
                found = sorted((c.rule, c.labels["region"]) for c in await firing.now())
                if found == list(expected):
                    return
                await asyncio.sleep(0.1)
            raise AssertionError(found)

        await survey.take_over()
        await cart.take_over()
        await fires()
        await survey.write(AlertStates(1, (state("eu"), state("us"))), [fired("eu"), fired("us")])
        await cart.write(AlertStates(1, (state("eu", "NpsLow"),)), [fired("eu", "NpsLow")])
        await fires(("CsatLow", "eu"), ("CsatLow", "us"), ("NpsLow", "eu"))
        assert fired("eu") in await firing.now()

        # An owner that was killed; the next one drops an alert without a change, as that of a rule
        # that is no more.
        await survey.close()
        survey = AlertLog(kafka, names, "cx.survey")
        assert (await survey.take_over()).alerts == (state("eu"), state("us"))
        await survey.write(AlertStates(2, (state("eu"),)), [])
        await fires(("CsatLow", "eu"), ("NpsLow", "eu"))
        # A worker without those rules tells of them all the same: others may be newer.
        older = FiringAlerts(kafka, names, {})
        assert sorted(c.rule for c in await older.now()) == ["CsatLow", "NpsLow"]
        await older.close()
        await survey.write(
            AlertStates(3, ()), [msgspec.structs.replace(fired("eu"), to="resolved")]
        )
        await fires(("NpsLow", "eu"))
        await survey.close()
        await cart.close()
        await firing.close()

    asyncio.run(following())
    left: dict[bytes, bytes | None] = {
        r.key or b"": r.value for r in records(kafka.bootstrap, [names.alert_state])
    }
    noted = [key for key, value in left.items() if key.startswith(b"firing ") and value is not None]
    assert noted == [b"firing cx.cart " + fired("eu", "NpsLow").key]


def test_of_an_alert_without_its_change_is_told_what_is_known(broker: Broker) -> None:
    number = next(_numbers)
    kafka = KafkaConfig(
        bootstrap=broker.bootstrap, group=f"firing-{number}", topic_prefix=f"firing-{number}-"
    )
    names = Names(kafka.topic_prefix, kafka.group)

    async def following(rules: dict[str, Rule]) -> list[Change]:
        await prepare(kafka)
        owner = AlertLog(kafka, names, "cx.survey")
        await owner.take_over()
        # As a version wrote it that knew no changes beside the states.
        await owner.write(AlertStates(1, (state("eu"),)), [])
        await owner.close()
        await until_closed(kafka.bootstrap, [names.alert_state])
        firing = FiringAlerts(kafka, names, rules)
        try:
            return await firing.now()
        finally:
            await firing.close()

    (told,) = asyncio.run(following(RULES))
    assert (told.rule, told.labels, told.to) == ("CsatLow", {"region": "eu"}, "firing")
    assert (told.started_at, told.severity) == ("2026-05-04T08:00:00Z", "critical")
    assert told.explanation == "CsatLow is firing since 2026-05-04T08:00:00Z."
    # Without the rule there is nothing to say.
    assert asyncio.run(following({})) == []


@pytest.mark.parametrize(
    ("found", "noted", "said"),
    [
        pytest.param(state("eu"), fired("eu"), "the change", id="it is there"),
        pytest.param(
            state("eu", "Gone"), fired("eu", "Gone"), "the change", id="of another's rule"
        ),
        pytest.param(state("eu"), None, "2026-05-04T08:00:00Z", id="it is not"),
        pytest.param(
            msgspec.structs.replace(state("eu"), started_at=None),
            None,
            "2026-05-04T08:00:05Z",
            id="nor is the start",
        ),
        pytest.param(state("eu", "Gone"), None, None, id="nor is the rule"),
        pytest.param(
            msgspec.structs.replace(
                state("eu"), watched=Watched.of(replace(RULES["CsatLow"], kpi="nps"))
            ),
            None,
            None,
            id="the rule looks at something else now",
        ),
    ],
)
def test_of_what_fires_the_change_is_told_or_what_else_is_known(
    found: AlertState, noted: Change | None, said: str | None
) -> None:
    told = FiringAlerts(KafkaConfig(), Names("", "g"), RULES)._told(found, noted)
    if said is None or noted is not None:
        assert told is noted
    else:
        assert told is not None
        assert (told.rule, told.to, told.started_at) == ("CsatLow", "firing", said)
        assert told.explanation == f"CsatLow is firing since {said}."


class CutBack:
    """A log that may lose its latest records, and the client that reads it ahead."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.clients = 0
        self.at = 0
        self.refused = False

    def add(self, *regions: str) -> None:
        for region in regions:
            key = b"alert cx.survey " + region.encode()
            self.records.append((key, msgspec.json.encode(state(region))))

    def lose(self, count: int) -> None:
        del self.records[-count:]

    def fetch(self) -> None:
        """What the client does by itself, at any time."""
        self.refused = self.refused or self.at > len(self.records)

    def reader(self, _: KafkaConfig, *, reset: str) -> CutBack:
        assert reset == "none"
        self.clients, self.at, self.refused = self.clients + 1, 0, False
        return self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[Any, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, len(self.records))

    def assign(self, _: object) -> None: ...

    def seek(self, _: object, position: int) -> None:
        self.at = position

    async def position(self, _: object) -> int:
        return self.at

    async def getmany(self, tp: TopicPartition, **_: object) -> dict[TopicPartition, list[Any]]:
        self.fetch()
        if self.refused:
            raise OffsetOutOfRangeError({tp: self.at})
        start, self.at = self.at, len(self.records)
        found = enumerate(self.records[start:], start)
        return {tp: [SimpleNamespace(offset=n, key=key, value=value) for n, (key, value) in found]}


@pytest.mark.parametrize(
    ("lost", "added", "is_met"),
    [
        pytest.param(2, (), False, id="ends before"),
        pytest.param(2, ("us",), True, id="has grown, and ends before"),
        pytest.param(2, ("us", "us"), True, id="has grown to where it was read to"),
        pytest.param(2, ("us", "us", "asia"), True, id="has grown beyond"),
    ],
)
async def test_what_a_log_has_lost_fires_no_more(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lost: int,
    added: tuple[str, ...],
    is_met: bool,
) -> None:
    """Its owner does not know of it, so nobody would ever tell that it is over."""
    kept = CutBack()
    monkeypatch.setattr(fires, "reader", kept.reader)
    firing = FiringAlerts(KafkaConfig(), Names("", "g"), RULES)

    async def regions() -> set[str]:
        return {change.labels["region"] for change in await firing.now()}

    kept.add("af", "eu", "sa")
    assert await regions() == {"af", "eu", "sa"}
    kept.lose(lost)
    if is_met:
        kept.fetch()
    kept.add(*added)
    for _ in range(2):
        assert await regions() == {"af", *added}
    assert kept.clients == 2
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == "topic g-alerts has lost records: reading what fires anew"
    kept.add("na")
    assert await regions() == {"af", *added, "na"}
    assert kept.clients == 2


def test_while_no_broker_answers_it_is_what_was_known_last(broker: Broker) -> None:
    number = next(_numbers)
    kafka = KafkaConfig(
        bootstrap=broker.bootstrap, group=f"firing-{number}", topic_prefix=f"firing-{number}-"
    )
    names = Names(kafka.topic_prefix, kafka.group)
    gone = kafka.model_copy(update={"bootstrap": f"127.0.0.1:{free_port()}"})

    async def following(blind_seconds: float) -> list[Change]:
        firing = FiringAlerts(kafka, names, RULES, blind_seconds)
        try:
            assert [c.labels for c in await firing.now()] == [{"region": "eu"}]
            await firing.close()
            firing._kafka = gone
            return await firing.now()
        finally:
            await firing.close()

    async def written() -> None:
        await prepare(kafka)
        owner = AlertLog(kafka, names, "cx.survey")
        await owner.take_over()
        await owner.write(AlertStates(1, (state("eu"),)), [fired("eu")])
        await owner.close()
        await until_closed(kafka.bootstrap, [names.alert_state])

    asyncio.run(written())
    assert asyncio.run(following(60)) == [fired("eu")]
    with pytest.raises(KafkaError):
        asyncio.run(following(-1))


async def test_after_a_reading_that_failed_all_is_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a client that has failed would bring next is not known to follow what was read."""
    kept = CutBack()
    monkeypatch.setattr(fires, "reader", kept.reader)
    firing = FiringAlerts(KafkaConfig(), Names("", "g"), RULES)
    kept.add("eu", "us")
    assert len(await firing.now()) == 2

    async def gone(_: object) -> dict[TopicPartition, int]:
        raise KafkaConnectionError("gone")

    with monkeypatch.context() as outage:
        outage.setattr(kept, "end_offsets", gone)
        assert len(await firing.now()) == 2
    assert len(await firing.now()) == 2
    assert kept.clients == 2


async def test_a_reading_that_a_client_has_cancelled_is_a_failure_and_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = CutBack()
    monkeypatch.setattr(fires, "reader", kept.reader)
    firing = FiringAlerts(KafkaConfig(), Names("", "g"), RULES, -1)

    async def given_up(_: object) -> dict[TopicPartition, int]:
        raise asyncio.CancelledError

    monkeypatch.setattr(kept, "end_offsets", given_up)
    with pytest.raises(RuntimeError, match="was broken off"):
        await firing.now()
    await firing.close()
