"""The alerts' state, their changes and what fires, in transactions that each hold whole alerts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, TypeVar

import msgspec

from stream.config import KafkaConfig
from stream.core.alerts import AlertState, AlertStates, Change
from stream.core.errors import UNREADABLE
from stream.core.state import StateRefused
from stream.deadletters.headers import GROUP
from stream.kafka import ids
from stream.kafka.log import Outgoing, TransactionalWriter, read_log
from stream.kafka.topics import STATE_LIMIT, Names

#: Keys of states begin so, and those of the changes that made alerts fire; then comes the family,
#: then the alert. The key of the family's head is the family.
_STATE: Final = b"alert"
_FIRING: Final = b"firing"
#: Alerts whose records are written together at most: with three records each that is a transaction
#: which takes a second or two of the time that it has, however many alerts a configuration allows.
_AT_ONCE: Final = 5_000

#: The topic is made anew where it is gone, and holds nothing that is counted.
_REMEDY: Final = (
    "stop all workers of the group, delete that topic, and start them again: all counts are kept,"
    " alerts that fire are told a second time, those that have ended meanwhile never as resolved"
)

T = TypeVar("T")


class _Head(msgspec.Struct, frozen=True):
    """When a family's states were written last.

    Earlier versions kept all states here, which may not fit into a record. ``alerts`` is None where
    they lie in records of their own, so that those versions refuse them instead of finding none.
    """

    at: int | None = None
    alerts: tuple[AlertState, ...] | None = ()


def states_in(log: Mapping[bytes, bytes], topic: str, family: bytes) -> AlertStates:
    """The states of a KPI family's alerts, as the records of ``topic`` have them.

    Raises:
        StateRefused: they can't be read.
    """
    try:
        head = msgspec.json.decode(log[family], type=_Head) if family in log else _Head()
        found = {_place(state): state for state in head.alerts or ()}
        for key, value in log.items():
            kind, owner, place = _parted(key)
            if kind == _STATE and owner == family:
                found[place] = msgspec.json.decode(value, type=AlertState)
    except UNREADABLE as error:
        raise StateRefused(f"topic {topic} is damaged: {error}; {_REMEDY}") from error
    return AlertStates(head.at, tuple(found.values()))


class AlertLog:
    """Keeps the states of a KPI family's alerts; only one worker at a time can write them.

    Each alert has a record of its own, so no number of alerts is too large for Kafka. Beside the
    states lies for each alert that fires the change that made it fire, which says more than the
    state does.
    """

    def __init__(self, kafka: KafkaConfig, names: Names, family: str) -> None:
        self._kafka = kafka
        self._names = names
        self._family = family.encode()
        #: Headers of changes: groups may share the topic, and each has sinks of its own.
        self._ours = [(GROUP, kafka.group.encode())]
        #: The states that have records of their own, by the key of the record.
        self._kept: dict[bytes, AlertState] = {}
        #: Keys of the changes that lie beside the states.
        self._noted: frozenset[bytes] = frozenset()
        #: All states, where some lie in the head still.
        self._former: AlertStates | None = None
        self._writer = TransactionalWriter(kafka, ids.of_alerts(kafka.group, family), STATE_LIMIT)

    async def take_over(self) -> AlertStates:
        """Fence the owner before; the states as they were written last.

        Raises:
            BrokerUnreachable, KafkaError, LogUnread: not now; try again.
            StateRefused: the states can't be read.
        """
        await self._writer.start()
        log = await read_log(self._kafka, self._names.alert_state, 0)
        states = states_in(log, self._names.alert_state, self._family)
        by_key = {_key(_STATE, self._family, _place(state)): state for state in states.alerts}
        self._kept = {key: state for key, state in by_key.items() if key in log}
        self._former = states if len(self._kept) < len(by_key) else None
        self._noted = frozenset(k for k in log if _parted(k)[:2] == (_FIRING, self._family))
        return states

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        """Write the states that are others than those written before, and the changes.

        Those of one alert are written all or none. Where there are thousands of alerts, those that
        come first may be written and others not.

        Raises:
            FlushFailed: some of it may not be written; ``take_over`` tells what is.
        """
        if self._former is not None:
            await self._bring_over(self._former)
        kept = {_key(_STATE, self._family, _place(state)): state for state in states.alerts}
        firing = {_key(_FIRING, self._family, s.key) for s in states.alerts if s.phase == "firing"}
        fired = {_key(_FIRING, self._family, c.key) for c in changes if c.to == "firing"}
        of_alerts = self._of_alerts(kept, firing, changes)
        if not of_alerts:
            return
        await self._write_together(of_alerts, states.at)
        self._kept = kept
        self._noted = (self._noted & firing) | fired

    async def _bring_over(self, former: AlertStates) -> None:
        """Give states that lie in the head records of their own, as they are.

        Else an alert that ends, of which nothing is left but its end, would be found in the head
        again where not all could be written.
        """
        kept = {_key(_STATE, self._family, _place(state)): state for state in former.alerts}
        lacking = kept.keys() - self._kept.keys()
        of_alerts = [[self._own(key, msgspec.json.encode(kept[key]))] for key in lacking]
        await self._write_together(of_alerts, former.at)
        self._kept, self._former = kept, None

    async def _write_together(self, of_alerts: Sequence[list[Outgoing]], at: int | None) -> None:
        """Write what is to be written of each alert, and with the last the time that it is of."""
        *earlier, last = _together(of_alerts)
        for records in earlier:
            await self._writer.write(records)
        head = self._own(self._family, msgspec.json.encode(_Head(at, None)))
        await self._writer.write([*last, head])

    def _of_alerts(
        self, kept: Mapping[bytes, AlertState], firing: set[bytes], changes: Sequence[Change]
    ) -> list[list[Outgoing]]:
        """What is to be written of each alert, in the order of the changes."""
        found: dict[bytes, list[Outgoing]] = {}
        for change in changes:
            value = msgspec.json.encode(change)
            of_alert = found.setdefault(change.key, [])
            told = Outgoing(self._names.alerts, None, change.key, value, self._ours)
            of_alert.append(told)
            if change.to == "firing":
                of_alert.append(self._own(_key(_FIRING, self._family, change.key), value))
        for key, state in kept.items():
            if self._kept.get(key) != state:
                record = self._own(key, msgspec.json.encode(state))
                found.setdefault(state.key, []).append(record)
        for key in self._kept.keys() - kept.keys():
            found.setdefault(self._kept[key].key, []).append(self._own(key, None))
        for key in self._noted - firing:
            found.setdefault(_parted(key)[2], []).append(self._own(key, None))
        return list(found.values())

    def _own(self, key: bytes, value: bytes | None) -> Outgoing:
        return Outgoing(self._names.alert_state, 0, key, value)

    async def close(self) -> None:
        """Let go of the states."""
        await self._writer.stop()


async def states_left(kafka: KafkaConfig, names: Names, family: str) -> AlertStates:
    """The states of a family's alerts as whoever owned it before has left them.

    That one is fenced, and a transaction that it left open is ended: the owners of all families
    wait for it, also where this family has no rules any more.

    Raises:
        BrokerUnreachable, KafkaError, LogUnread: not now; try again.
        StateRefused: the states can't be read.
    """
    alert_log = AlertLog(kafka, names, family)
    try:
        return await alert_log.take_over()
    finally:
        await alert_log.close()


def _place(state: AlertState) -> bytes:
    """What tells a state from all others of its family.

    The alert on the number of a rule's series has no labels, like that on a total: a rule whose
    rollup was changed may have both.
    """
    return state.key + (b" overflow" if state.overflow else b"")


def _key(kind: bytes, family: bytes, place: bytes) -> bytes:
    return b" ".join((kind, family, place))


def _parted(key: bytes) -> tuple[bytes, bytes, bytes]:
    """The kind of a record, its family and its alert; the head of a family has no kind."""
    kind, family, place = (*key.split(b" ", 2), b"", b"")[:3]
    return (kind, family, place) if family else (b"", kind, b"")


def _together(of_alerts: Sequence[list[Outgoing]]) -> list[list[Outgoing]]:
    """What is written in each transaction; there is one at least."""
    starts = range(0, max(1, len(of_alerts)), _AT_ONCE)
    return [list(chain.from_iterable(of_alerts[n : n + _AT_ONCE])) for n in starts]


def firing_in(log: Mapping[bytes, bytes]) -> Iterator[tuple[AlertState, Change | None]]:
    """All alerts that fire, of all families, by the log's latest records, and what made them fire.

    The states say which; a change that can't be read, or that an older version did not write, is
    None. States that can't be read say nothing: their owner says why it stops.
    """
    states: dict[tuple[bytes, bytes], AlertState | None] = {}
    for key, value in log.items():
        kind, family, place = _parted(key)
        if kind == _STATE:
            states[family, place] = _read(value, AlertState)
        elif not kind:
            for former in (_read(value, _Head) or _Head()).alerts or ():
                states.setdefault((family, _place(former)), former)
    for (family, _), state in states.items():
        if state is not None and state.phase == "firing":
            noted = log.get(_key(_FIRING, family, state.key))
            yield state, None if noted is None else _read(noted, Change)


def _read(value: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value, type=kind)
    except UNREADABLE:
        return None
