"""How the states of alerts and their changes are laid down, in a log without a broker."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import pytest

from stream.config import KafkaConfig
from stream.config.fields import LONGEST_TEXT, Between
from stream.config.model import AlertConfig
from stream.core.alerts import AlertState, AlertStates, Change
from stream.core.labels import MAX_ENTRIES, MAX_VALUE
from stream.core.state import StateRefused
from stream.deadletters.headers import is_of
from stream.kafka import alert_log
from stream.kafka.alert_log import AlertLog, firing_in, states_left
from stream.kafka.log import FlushFailed, Outgoing
from stream.kafka.topics import STATE_LIMIT, Names
from tests.sinks.receiver import change

#: 2026-05-04T08:00:00Z
STARTED = 1_777_881_600_000
NAMES = Names("", "g")


class FakeKafka:
    """A log of alerts, and the transactions that made it."""

    def __init__(self) -> None:
        self.log: dict[bytes, bytes] = {}
        self.transactions: list[list[Outgoing]] = []
        #: So many more transactions succeed.
        self.patience = 1_000

    def writer(self, *_: object) -> FakeKafka:
        return self

    async def read_log(self, *_: object) -> dict[bytes, bytes]:
        return dict(self.log)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def write(self, records: Sequence[Outgoing]) -> None:
        if not self.patience:
            raise FlushFailed("the broker is gone")
        self.patience -= 1
        self.transactions.append(list(records))
        for record in records:
            if record.topic != NAMES.alert_state:
                continue
            assert record.key is not None
            if record.value is None:
                del self.log[record.key]
            else:
                self.log[record.key] = record.value


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    made = FakeKafka()
    monkeypatch.setattr(alert_log, "TransactionalWriter", made.writer)
    monkeypatch.setattr(alert_log, "read_log", made.read_log)
    return made


async def owner() -> tuple[AlertLog, AlertStates]:
    """An owner that has taken over, and what it found."""
    made = AlertLog(KafkaConfig(), NAMES, "cx.survey")
    return made, await made.take_over()


def state(region: str, rule: str = "Low", phase: str = "firing") -> AlertState:
    made = AlertState(rule, (("region", region),), "firing", STARTED, STARTED + 5_000)
    return msgspec.structs.replace(made, phase=phase)


def fired(region: str, rule: str = "Low") -> Change:
    return msgspec.structs.replace(change(), rule=rule, labels={"region": region})


def keys(records: Sequence[Outgoing]) -> list[bytes | None]:
    return [record.key for record in records]


async def test_what_was_written_is_found_by_whoever_takes_over(kafka: FakeKafka) -> None:
    states = (
        # A rule whose rollup was changed to the total, and a name with a blank.
        AlertState("Much lower", (), "inactive", None, STARTED, overflow=True),
        AlertState("Much lower", (), "pending", STARTED, STARTED),
        state("eu"),
    )
    first, found = await owner()
    assert found == AlertStates()
    await first.write(AlertStates(7, states), [fired("eu")])
    _, found = await owner()
    assert (found.at, set(found.alerts)) == (7, set(states))
    assert list(firing_in(kafka.log)) == [(state("eu"), fired("eu"))]


async def test_only_what_has_changed_is_written_and_what_is_gone_is_deleted(
    kafka: FakeKafka,
) -> None:
    first, _ = await owner()
    both = [fired("eu"), fired("us", "Dropped")]
    await first.write(AlertStates(1, (state("eu"), state("us", "Dropped"))), both)
    await first.write(AlertStates(2, (state("eu"), state("us", "Dropped"), state("a"))), [])
    assert keys(kafka.transactions[-1]) == [
        b'alert cx.survey ["Low",[["region","a"]]]',
        b"cx.survey",
    ]
    for take_over in (False, True):
        if take_over:
            first, _ = await owner()
        await first.write(AlertStates(3 + take_over, (state("eu"), state("a"))), [])
        assert len(kafka.log) == 4, "two states, the change that made one fire, and the head"
    assert [found for found, _ in firing_in(kafka.log)] == [state("eu"), state("a")]


async def test_the_same_states_in_another_order_are_not_written_again(kafka: FakeKafka) -> None:
    first, _ = await owner()
    await first.write(AlertStates(1, (state("eu"), state("us"))), [])
    await first.write(AlertStates(2, (state("us"), state("eu"))), [])
    assert len(kafka.transactions) == 1


async def test_states_of_an_earlier_version_that_are_all_gone_do_not_come_back(
    kafka: FakeKafka,
) -> None:
    kafka.log = {b"cx.survey": msgspec.json.encode(AlertStates(5, (state("eu"),)))}
    first, _ = await owner()
    await first.write(AlertStates(6, ()), [])
    _, found = await owner()
    assert found == AlertStates(6, ())


async def test_states_of_an_earlier_version_are_read_and_brought_over(kafka: FakeKafka) -> None:
    former = AlertStates(5, (state("eu"), state("us"), state("a", phase="pending")))
    noted = b"firing cx.survey " + fired("eu").key
    kafka.log = {
        b"cx.survey": msgspec.json.encode(former),
        noted: msgspec.json.encode(fired("eu")),
    }
    assert list(firing_in(kafka.log)) == [(state("eu"), fired("eu")), (state("us"), None)]
    first, found = await owner()
    assert found == former
    await first.write(AlertStates(6, (state("us"),)), [])
    assert sorted(kafka.log) == [b"alert cx.survey " + fired("us").key, b"cx.survey"]
    _, found = await owner()
    assert found == AlertStates(6, (state("us"),))


async def test_an_earlier_version_refuses_states_that_it_would_not_see(kafka: FakeKafka) -> None:
    first, _ = await owner()
    await first.write(AlertStates(1, (state("eu"),)), [])
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(kafka.log[b"cx.survey"], type=AlertStates)


@pytest.mark.parametrize("patience", range(6))
async def test_an_alert_that_was_told_resolved_is_not_found_firing_in_the_head_again(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    monkeypatch.setattr(alert_log, "_AT_ONCE", 1)
    former = AlertStates(1, (state("a"), state("b"), state("c")))
    kafka.log = {b"cx.survey": msgspec.json.encode(former)}
    first, _ = await owner()
    kafka.patience = patience
    resolved = msgspec.structs.replace(fired("a"), from_="firing", to="resolved")
    changed = msgspec.structs.replace(state("b"), phase="inactive")
    with suppress(FlushFailed):
        await first.write(AlertStates(2, (changed, state("c"))), [resolved])
    told = any(r.topic == NAMES.alerts for t in kafka.transactions for r in t)
    _, found = await owner()
    assert (state("a") in found.alerts) is not told
    assert {s.labels for s in found.alerts} >= {s.labels for s in (changed, state("c"))}


HEAD, ALERT = b"cx.survey", b'alert cx.survey ["Low",[["region","eu"]]]'


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (HEAD, b"rubbish"),
        (HEAD, b'{"alerts":[{"rule":"\xff"}]}'),
        (HEAD, b'{"more":' + b"[" * 3_000),
        (ALERT, b"rubbish"),
        (ALERT, b'{"rule":"\xff"}'),
        (ALERT, b'{"more":' + b"[" * 3_000),
    ],
)
async def test_a_damaged_record_is_refused(kafka: FakeKafka, key: bytes, value: bytes) -> None:
    first, _ = await owner()
    await first.write(AlertStates(1, (state("eu"),)), [])
    kafka.log[key] = value
    with pytest.raises(StateRefused, match=r"topic g-alerts is damaged: .* delete that topic"):
        await owner()


def largest(number: int) -> AlertState:
    """What takes most room: labels as long as they may be, of what JSON writes longest."""
    longest = {f"{n:0{LONGEST_TEXT}}": "\x01" * MAX_VALUE for n in range(MAX_ENTRIES - 1)}
    labels = (*longest.items(), ("own", str(number)))
    return AlertState("\N{OK HAND SIGN}" * LONGEST_TEXT, labels, "firing", 10**15, 10**15, 10**15)


async def test_no_number_of_alerts_that_can_be_configured_makes_a_record_or_transaction_too_large(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = AlertConfig.model_fields["max_series"].metadata
    most = max(m.high for m in limits if isinstance(m, Between))
    assert len(msgspec.json.encode(largest(0))) * most > STATE_LIMIT, "together they don't fit"
    monkeypatch.setattr(alert_log, "_AT_ONCE", 100)
    states = AlertStates(1, tuple(map(largest, range(1_000))))
    changes = [
        msgspec.structs.replace(change(), rule=s.rule, labels=dict(s.labels)) for s in states.alerts
    ]
    first, _ = await owner()
    await first.write(states, changes)
    sizes = [len(r.key or b"") + len(r.value or b"") for t in kafka.transactions for r in t]
    assert max(sizes) < 100_000
    assert len(kafka.transactions) == 10
    assert max(map(len, kafka.transactions)) == 3 * 100 + 1


async def test_where_only_some_alerts_could_be_written_each_is_there_with_its_change_or_not_at_all(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_log, "_AT_ONCE", 2)
    regions = ["a", "b", "c", "d", "e"]
    kafka.log = {b"cx.survey": msgspec.json.encode(AlertStates(1, (state("z"),)))}
    first, _ = await owner()
    kafka.patience = 3  # One brings over what lies in the head.
    with pytest.raises(FlushFailed):
        await first.write(AlertStates(9, tuple(map(state, regions))), list(map(fired, regions)))
    told = [r.key for t in kafka.transactions for r in t if r.topic == NAMES.alerts]
    assert told == [fired(region).key for region in "abcd"]
    _, found = await owner()
    assert found.at == 1, "so the evaluation is made again"
    assert found.alerts == tuple(map(state, "zabcd"))
    assert [c.labels["region"] for _, c in firing_in(kafka.log) if c] == list("abcd")


async def test_the_owner_before_is_fenced_before_its_states_are_read_and_who_looks_lets_go(
    kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    async def step(name: str) -> dict[bytes, bytes]:
        steps.append(name)
        return kafka.log

    monkeypatch.setattr(alert_log, "read_log", lambda *_: step("read"))
    monkeypatch.setattr(kafka, "start", lambda: step("fenced"), raising=False)
    monkeypatch.setattr(kafka, "stop", lambda: step("let go"), raising=False)
    await owner()
    assert steps == ["fenced", "read"]
    assert await states_left(KafkaConfig(), NAMES, "cx.survey") == AlertStates()
    assert steps == ["fenced", "read"] * 2 + ["let go"]


async def test_changes_say_of_which_group_they_are(kafka: FakeKafka) -> None:
    """Groups may share the topic, and each has sinks of its own."""
    first, _ = await owner()
    await first.write(AlertStates(1, (state("eu"),)), [fired("eu")])
    (told,) = (r for r in kafka.transactions[-1] if r.topic == NAMES.alerts)
    assert is_of(told.headers, KafkaConfig().group)
    assert not is_of(told.headers, "another")
    assert told.key == fired("eu").key


async def test_what_was_deleted_or_brought_over_once_is_not_written_again(
    kafka: FakeKafka,
) -> None:
    kafka.log = {b"cx.survey": msgspec.json.encode(AlertStates(5, (state("a"),)))}
    first, _ = await owner()
    await first.write(AlertStates(6, (state("a"), state("eu"))), [fired("eu")])
    await first.write(AlertStates(7, (state("a"),)), [])
    before = len(kafka.transactions)
    await first.write(AlertStates(8, (state("a"), state("us"))), [])
    assert [keys(records) for records in kafka.transactions[before:]] == [
        [b'alert cx.survey ["Low",[["region","us"]]]', b"cx.survey"]
    ]
