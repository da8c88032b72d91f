"""State logs that are damaged or cut off, each in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from unittest import mock

from stream.core import state
from stream.core.shard import Shard
from stream.core.state import StateLog, StateRefused
from stream.core.state_records import pack, unpack
from stream.core.values import Values
from tests.faults.crashes import LIVES, START, history, settings
from tests.faults.verdict import FALLEN_APART

Log = dict[bytes, bytes]


def written() -> Log:
    """A log of several flushes, whose blocks wait."""
    with mock.patch.multiple(state, BLOCK_BUDGET=1, BLOCK_COST=0):
        return _written()


def _written() -> Log:
    shard = Shard(settings(), Values(settings()))
    log = StateLog(shard)
    found: dict[bytes, bytes | None] = {}
    records = history(LIVES["hours"], 1)
    for number, first in enumerate(range(0, 1_000, 100)):
        for at, topic, _, value in records[first : first + 100]:
            shard.ingest(topic, [value], at)
        found.update(log.flush(START + number * 60_000))
    return {key: value for key, value in found.items() if value is not None}


def deltas(log: Log) -> list[bytes]:
    return sorted((k for k in log if k.startswith(b"delta/")), key=lambda k: int(k[6:]))


def without_header(log: Log) -> None:
    del log[b"header"]


def without_the_deltas(log: Log) -> None:
    for key in deltas(log):
        del log[key]


def without_a_delta(log: Log) -> None:
    del log[deltas(log)[-2]]


def with_a_record_cut_off(log: Log) -> None:
    log[deltas(log)[-1]] = log[deltas(log)[-1]][:20]


def with_a_block_of_noise(log: Log) -> None:
    key = next(k for k in log if k.startswith(b"block/panes"))
    log[key] = b"\x00" * 50


def blocks(log: Log, store: str = "panes") -> list[bytes]:
    return sorted(key for key in log if key.startswith(f"block/{store}:".encode()))


def without_a_block(log: Log) -> None:
    del log[blocks(log)[0]]


def without_the_segments(log: Log) -> None:
    del log[blocks(log, "segments")[0]]


def with_a_block_of_before(log: Log) -> None:
    key = blocks(log)[-1]
    sequence, dumped, of = unpack(key, log[key])
    log[key] = pack([sequence - 1, dumped, of])


def with_the_value_of_another_block(log: Log) -> None:
    key, other = blocks(log)[:2]
    sequence, dumped, _ = unpack(key, log[key])
    log[key] = pack([sequence, dumped, other])


def with_the_block_of_another_store(log: Log) -> None:
    log[blocks(log)[0]] = log[blocks(log, "segments")[0]]


def with_the_value_of_another_delta(log: Log) -> None:
    log[deltas(log)[-1]] = log[deltas(log)[-2]]


def with_a_bit_flipped_in_a_block(log: Log) -> None:
    _flip(log, blocks(log)[0])


def with_a_bit_flipped_in_a_delta(log: Log) -> None:
    _flip(log, deltas(log)[-1])


def _flip(log: Log, key: bytes) -> None:
    value = bytearray(log[key])
    value[len(value) // 2] ^= 16
    log[key] = bytes(value)


def of_another_format(log: Log) -> None:
    number, *rest = unpack(b"header", log[b"header"])
    log[b"header"] = pack([number + 1, *rest])


DAMAGES: Final = (
    of_another_format,
    without_header,
    without_the_deltas,
    without_a_delta,
    with_a_record_cut_off,
    with_a_block_of_noise,
    without_a_block,
    without_the_segments,
    with_a_block_of_before,
    with_the_value_of_another_block,
    with_the_block_of_another_store,
    with_the_value_of_another_delta,
    with_a_bit_flipped_in_a_block,
    with_a_bit_flipped_in_a_delta,
)


def fate(damage: Callable[[Log], None], whole: Log) -> str:
    """What becomes of a copy of a log that is damaged so: it should be refused."""
    log = dict(whole)
    damage(log)
    try:
        StateLog(Shard(settings(), Values(settings()))).recover(log)
    except StateRefused:
        return "is refused"
    except FALLEN_APART as error:
        return f"falls apart: {error!r}"
    return "is taken for whole"


def findings() -> list[str]:
    """The damages that are not refused."""
    whole = written()
    fates = [(damage.__name__.replace("_", " "), fate(damage, whole)) for damage in DAMAGES]
    return [f"a log {name} {what}" for name, what in fates if what != "is refused"]
