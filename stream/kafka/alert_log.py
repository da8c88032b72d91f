"""The alerts' state, their changes and what fires, in one transaction each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from stream.config import KafkaConfig
from stream.core.alerts import AlertState, AlertStates, Change
from stream.core.state import StateRefused
from stream.kafka import ids
from stream.kafka.log import Outgoing, TransactionalWriter, read_log
from stream.kafka.topics import ONLY_REMEDY, STATE_LIMIT, Names

#: The key of what fires begins so, with the family and the alert after it; that of a family's
#: states is the family.
_FIRING: Final = b"firing "

T = TypeVar("T")


def states_in(log: Mapping[bytes, bytes], topic: str, family: bytes) -> AlertStates:
    """The states of a KPI family's alerts, as the records of ``topic`` have them.

    Raises:
        StateRefused: they can't be read.
    """
    found = log.get(family)
    try:
        return msgspec.json.decode(found, type=AlertStates) if found else AlertStates()
    except msgspec.MsgspecError as error:
        raise StateRefused(f"topic {topic} is damaged: {error}; {ONLY_REMEDY}") from error


class AlertLog:
    """Keeps the states of a KPI family's alerts; only one worker at a time can write them.

    Beside the states lies for each alert that fires the change that made it fire, which says more
    than the state does.
    """

    def __init__(self, kafka: KafkaConfig, names: Names, family: str) -> None:
        self._kafka = kafka
        self._names = names
        self._key = family.encode()
        #: Keys of the changes that lie beside the states.
        self._noted: frozenset[bytes] = frozenset()
        self._writer = TransactionalWriter(kafka, ids.of_alerts(kafka.group, family), STATE_LIMIT)

    async def take_over(self) -> AlertStates:
        """Fence the owner before; the states as they were written last.

        Raises:
            KafkaError, LogUnread: not now; try again.
            StateRefused: the states can't be read.
        """
        await self._writer.start()
        log = await read_log(self._kafka, self._names.alert_state, 0)
        self._noted = frozenset(key for key in log if key.startswith(self._firing(b"")))
        return states_in(log, self._names.alert_state, self._key)

    async def write(self, states: AlertStates, changes: Sequence[Change]) -> None:
        """Write states and changes, all or none. Raises FlushFailed."""
        topic = self._names.alert_state
        records = [
            Outgoing(self._names.alerts, None, c.key, msgspec.json.encode(c)) for c in changes
        ]
        fired = {self._firing(c.key): c for c in changes if c.to == "firing"}
        firing = {self._firing(key_of(state)) for state in _firing_in(states)}
        records += [Outgoing(topic, 0, k, msgspec.json.encode(c)) for k, c in fired.items()]
        records += [Outgoing(topic, 0, key, None) for key in sorted(self._noted - firing)]
        state = Outgoing(topic, 0, self._key, msgspec.json.encode(states))
        await self._writer.write([*records, state])
        self._noted = (self._noted & firing) | fired.keys()

    def _firing(self, key: bytes) -> bytes:
        return _FIRING + self._key + b" " + key

    async def close(self) -> None:
        """Let go of the states."""
        await self._writer.stop()


def key_of(state: AlertState) -> bytes:
    """The key of an alert, the same as that of its changes."""
    return msgspec.json.encode([state.rule, sorted(state.labels)])


def _firing_in(states: AlertStates) -> Iterator[AlertState]:
    return (state for state in states.alerts if state.phase == "firing")


def firing_in(log: Mapping[bytes, bytes]) -> Iterator[tuple[AlertState, Change | None]]:
    """All alerts that fire, of all families, by the log's latest records, and what made them fire.

    The states say which; a change that can't be read, or that an older version did not write, is
    None. A family whose states can't be read has none: its owner says why it stops.
    """
    for family, states in log.items():
        if family.startswith(_FIRING):
            continue
        for state in _firing_in(_read(states, AlertStates) or AlertStates()):
            noted = log.get(_FIRING + family + b" " + key_of(state))
            yield state, None if noted is None else _read(noted, Change)


def _read(value: bytes, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.MsgspecError:
        return None
