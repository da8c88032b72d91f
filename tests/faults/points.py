"""Points of the protocol at which a worker's process can be hit, from outside the product.

A process looks into its control file whenever it passes a point. The file holds one order: the
point, what to do there, and at which passing. Carrying it out takes the file away by its name, so
that whoever gave it knows; who takes it away first, to carry it out or to withdraw it, has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from aiokafka.errors import KafkaError

#: Where the process can be hit, in the order of a shard's life.
POINTS: Final = (
    "fence.before",  # A take-over is about to start its producer.
    "fence.after",  # The owner before is fenced.
    "read.before",
    "read.after",  # The state log was read, not yet folded.
    "between",  # One of the two, fence and read, is done and the other is not.
    "fold.after",  # The shard is recovered, not yet live.
    "begin",  # A flush is made, its transaction not begun.
    "lingering",  # It lingers there.
    "sent",  # All records were handed to the producer, none is waited for.
    "letters.sent",  # The same, where dead letters are among them.
    "commit",  # All records were acknowledged, nothing is committed.
    "committed",  # The broker has committed, which nobody was told yet.
    "letters",  # The same, where dead letters were among the records.
    "half",  # A flush left blocks for later: in the midst of a checkpoint.
    "chunk",  # Records are about to be counted.
    "alerts.begin",  # States and changes of alerts are about to be written.
    "alerts.commit",  # They were acknowledged, nothing is committed.
    "alerts.committed",  # The broker has committed changes, which nobody was told yet.
)
#: ``refuse``: the client raises. ``drop`` and ``repeat`` are for chunks. ``linger``, at "begin" and
#: "alerts.begin": the group hears no more of the process, which waits for an order at "lingering",
#: makes its transaction, and dies if it could. So it is evicted and neither knows of it nor comes
#: back. At "alerts.begin" it writes nothing else meanwhile either, or it would take shards back.
Action = Literal["kill", "freeze", "refuse", "drop", "repeat", "linger"]


class Refused(KafkaError):  # type: ignore[misc]
    """What the client raises where the order says so."""


class Control:
    """Carries out the order in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed = 0

    def passing(self, point: str) -> str | None:
        """Pass a point; the action that the caller has to carry out, if there is one."""
        try:
            wanted, action, delay_ms, nth = self._file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        if wanted != point:
            return None
        self._passed += 1
        if self._passed < int(nth):
            return None
        self._passed = 0
        if not self._claimed():
            return None
        if action in ("kill", "freeze"):
            number = signal.SIGKILL if action == "kill" else signal.SIGSTOP
            _send(number, int(delay_ms) / 1000)
            return None
        if action == "refuse":
            raise Refused(point)
        return action

    def _claimed(self) -> bool:
        """Take the order away; False where whoever gave it has withdrawn it meanwhile."""
        mine = self._file.with_suffix(".claimed")
        try:
            self._file.rename(mine)
        except FileNotFoundError:
            return False
        mine.unlink()
        return True


def _send(number: signal.Signals, delay: float) -> None:
    if delay:
        threading.Timer(delay, os.kill, (os.getpid(), number)).start()
    else:
        os.kill(os.getpid(), number)


def install(control: Control) -> None:
    """Wrap the client and the product, so that their calls pass the points."""
    from stream.core.state import StateLog
    from stream.kafka import shards
    from stream.kafka.owner import ShardOwner

    order = _Order(control)
    _around_take_over(control, order)
    _around_transactions(control)
    _around_letters(control)
    _around_alerts(control)
    read = vars(shards)["read_log"]

    async def reading(*args: Any, **kwargs: Any) -> Any:
        control.passing("read.before")
        found = await read(*args, **kwargs)
        control.passing("read.after")
        order.done("read")
        return found

    vars(shards)["read_log"] = reading
    _around(StateLog, "recover", lambda: control.passing("fold.after"))
    _around_flush(StateLog, control)
    _around_chunks(ShardOwner, control)


class _Order:
    """Passes "between" whenever a take-over has done one thing of two."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._done = {"fence": 0, "read": 0}

    def done(self, kind: str) -> None:
        self._done[kind] += 1
        if self._done[kind] > min(self._done.values()):
            self._control.passing("between")


def _of_shard(producer: Any) -> bool:
    manager = producer._txn_manager
    return manager is not None and "-shard-" in manager.transactional_id


def _is_delta(producer: Any, sent: Mapping[str, Any]) -> bool:
    """Whether a record is the one of a flush that says what has changed; letters go before it."""
    return _of_shard(producer) and (sent.get("key") or b"").startswith(b"delta/")


def _of_alerts(producer: Any) -> bool:
    manager = producer._txn_manager
    return manager is not None and "-alerts-" in manager.transactional_id


def _around_take_over(control: Control, order: _Order) -> None:
    from aiokafka import AIOKafkaProducer

    start = AIOKafkaProducer.start

    async def starting(producer: Any) -> None:
        if not _of_shard(producer):
            await start(producer)
            return
        control.passing("fence.before")
        await start(producer)
        control.passing("fence.after")
        order.done("fence")

    AIOKafkaProducer.start = starting


def _around_transactions(control: Control) -> None:
    from aiokafka import AIOKafkaProducer

    begin, send = AIOKafkaProducer.begin_transaction, AIOKafkaProducer.send
    commit = AIOKafkaProducer.commit_transaction
    lingered: set[int] = set()

    async def beginning(producer: Any) -> None:
        if _of_shard(producer) and control.passing("begin") == "linger":
            _leave_the_group()
            lingered.add(id(producer))
            await _linger(control)
        await begin(producer)

    async def sending(producer: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        sent = await send(producer, topic, *args, **kwargs)
        if _is_delta(producer, kwargs):
            control.passing("sent")
        return sent

    async def committing(producer: Any) -> None:
        if _of_shard(producer):
            control.passing("commit")
        await commit(producer)
        if id(producer) in lingered:
            os.kill(os.getpid(), signal.SIGKILL)
        if _of_shard(producer):
            control.passing("committed")

    AIOKafkaProducer.begin_transaction = beginning
    AIOKafkaProducer.send = sending
    AIOKafkaProducer.commit_transaction = committing


def _around_letters(control: Control) -> None:
    from aiokafka import AIOKafkaProducer

    send, commit = AIOKafkaProducer.send, AIOKafkaProducer.commit_transaction
    with_letters: set[int] = set()

    async def sending(producer: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        sent = await send(producer, topic, *args, **kwargs)
        if topic.endswith(".dlq"):
            with_letters.add(id(producer))
        if id(producer) in with_letters and _is_delta(producer, kwargs):
            control.passing("letters.sent")
        return sent

    async def committing(producer: Any) -> None:
        await commit(producer)
        if id(producer) in with_letters:
            with_letters.discard(id(producer))
            control.passing("letters")

    AIOKafkaProducer.send = sending
    AIOKafkaProducer.commit_transaction = committing


def _around_alerts(control: Control) -> None:
    from aiokafka import AIOKafkaProducer

    begin, send = AIOKafkaProducer.begin_transaction, AIOKafkaProducer.send
    commit = AIOKafkaProducer.commit_transaction
    lingering: list[Any] = []
    with_changes: set[int] = set()

    async def beginning(producer: Any) -> None:
        if _of_alerts(producer) and control.passing("alerts.begin") == "linger":
            _leave_the_group()
            lingering.append(producer)
            await _linger(control)
        elif lingering:
            await asyncio.sleep(3600)
        await begin(producer)

    async def sending(producer: Any, topic: str, *args: Any, **kwargs: Any) -> Any:
        if topic.endswith("cx.alert"):
            with_changes.add(id(producer))
        return await send(producer, topic, *args, **kwargs)

    async def committing(producer: Any) -> None:
        if _of_alerts(producer):
            control.passing("alerts.commit")
        await commit(producer)
        if producer in lingering:
            os.kill(os.getpid(), signal.SIGKILL)
        if id(producer) in with_changes:
            with_changes.discard(id(producer))
            control.passing("alerts.committed")

    AIOKafkaProducer.begin_transaction = beginning
    AIOKafkaProducer.send = sending
    AIOKafkaProducer.commit_transaction = committing


async def _linger(control: Control) -> None:
    while control.passing("lingering") is None:  # noqa: ASYNC110 - a file sets no event.
        await asyncio.sleep(0.02)


def _leave_the_group() -> None:
    """Keep all that a member says to its group from being sent, by clients that are there, too."""
    from aiokafka.conn import AIOKafkaConnection

    send = AIOKafkaConnection.send

    def sending(connection: Any, request: Any, **more: Any) -> Any:
        if type(request).__name__.startswith(("Heartbeat", "JoinGroup", "SyncGroup")):
            return asyncio.get_running_loop().create_future()
        return send(connection, request, **more)

    AIOKafkaConnection.send = sending


def _around(cls: Any, name: str, then: Callable[[], object]) -> None:
    method = getattr(cls, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        then()
        return result

    setattr(cls, name, wrapped)


def _around_flush(cls: Any, control: Control) -> None:
    method = cls.flush

    def wrapped(log: Any, at: int) -> Any:
        records = method(log, at)
        if records and log._dirty:
            control.passing("half")
        return records

    cls.flush = wrapped


def _around_chunks(cls: Any, control: Control) -> None:
    method = cls.apply

    def wrapped(owner: Any, chunk: Any) -> None:
        action = control.passing("chunk")
        if action != "drop":
            method(owner, chunk)
        if action == "repeat":
            method(owner, chunk)

    cls.apply = wrapped
