"""What every part of a shard's state does, so that a log of it can be written and read again.

The parts are those that a shard has: one that is added to it is tested by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from stream.core.active import ActiveStore
from stream.core.catalogue import KPIS
from stream.core.dedupe import SeenIds
from stream.core.memory import Memory
from stream.core.settings import DAY, HOUR, MINUTE
from stream.core.shard import Shard
from stream.core.topic import Store
from stream.core.values import Values
from tests.core.kpi_events import NOON, SETTINGS, Event, events_for, records

Blocks = Mapping[str, Any]


def new_shard() -> Shard:
    return Shard(SETTINGS, Values(SETTINGS))


def new_store(name: str) -> Store:
    return next(store for store in new_shard().stores() if store.name == name)


STORES = [store.name for store in new_shard().stores()]
SEEDS = range(3)
#: How much later it is when what is too old is forgotten.
AGES = [MINUTE, 13 * MINUTE, HOUR, 2 * DAY, 40 * DAY, 4_000 * DAY]

every_store = pytest.mark.parametrize("name", STORES)
any_history = pytest.mark.parametrize("seed", SEEDS)


def packed(data: Any) -> Any:
    """Through msgpack and back, as in a log."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data))


def dumped(store: Store, blocks: Iterable[str]) -> dict[str, Any]:
    return {block: packed(store.dump(block)) for block in blocks}


def content(store: Store, blocks: Iterable[str]) -> Any:
    """All that a store holds, whatever the order in which it was told."""
    if isinstance(store, Memory):
        return dict(store.items()), store.forgotten
    found = {block: data for block, data in dumped(store, blocks).items() if data}
    if isinstance(store, SeenIds):
        # Times and ids, side by side.
        columns = {b: [np.frombuffer(c, dtype=np.int64) for c in data] for b, data in found.items()}
        return {b: set(zip(*columns[b], strict=True)) for b in found if columns[b][0].size}
    if isinstance(store, ActiveStore):
        return {b: [*data[:3], sorted(data[3]), sorted(data[4])] for b, data in found.items()}
    return found


@dataclass(frozen=True)
class Flush:
    """What a store has told of itself at a flush."""

    changes: list[Any]
    touched: frozenset[str]
    #: All blocks up to now as they are then.
    blocks: Blocks


@dataclass(frozen=True)
class History:
    """Two flushes of a store, and what it holds after them."""

    first: Flush
    second: Flush
    content: Any


def _stream(rolls: Random) -> list[Event]:
    """Events of all types; each entity has several."""
    found = [
        event | {"event_id": f"{kpi.id}-{event['event_id']}"}
        for kpi in KPIS.values()
        for event in events_for(kpi, rolls, 9, entities=4)
    ]
    rolls.shuffle(found)
    return found


@cache
def histories(seed: int) -> dict[str, History]:
    """Of each store of a shard, by its name."""
    shard, stream = new_shard(), _stream(Random(seed))
    flushes: dict[str, list[Flush]] = {name: [] for name in STORES}
    for part in (stream[: len(stream) // 2], stream[len(stream) // 2 :]):
        shard.ingest(None, records(part), NOON)
        shard.advance(NOON)
        shard.fold(NOON)
        for store in shard.stores():
            told = flushes[store.name]
            changes, touched = packed(store.changes()), frozenset(store.touched())
            known = touched.union(*(flush.touched for flush in told))
            told.append(Flush(changes, touched, dumped(store, known)))
    found = {}
    for store in shard.stores():
        first, second = flushes[store.name]
        found[store.name] = History(first, second, content(store, second.blocks))
    return found


def history(name: str, seed: int) -> History:
    return histories(seed)[name]


def replayed(store: Store, past: History, written: Mapping[str, int]) -> None:
    """Read a log in which blocks were written at the first or the second flush, or at none."""
    for number, flush in enumerate((past.first, past.second), start=1):
        for block, data in flush.blocks.items():
            if written.get(block) == number:
                store.load(block, data)
    for number, flush in enumerate((past.first, past.second), start=1):

        def is_newer(block: str, number: int = number) -> bool:
            return number > written.get(block, 0)

        for change in flush.changes:
            store.apply(change, NOON, is_newer)


def test_no_two_stores_share_a_name_and_none_breaks_a_block_s_key() -> None:
    assert len(set(STORES)) == len(STORES)
    assert not [name for name in STORES if ":" in name]


@every_store
@any_history
def test_every_flush_of_a_busy_shard_has_something_of_it(name: str, seed: int) -> None:
    """Or all that follows would hold of nothing."""
    past = history(name, seed)
    for flush in (past.first, past.second):
        assert flush.changes
        assert flush.touched
    assert past.content


@every_store
def test_a_new_one_has_nothing_to_tell(name: str) -> None:
    store = new_store(name)
    assert name == "progress" or not store.changes()
    assert name == "progress" or not set(store.touched())
    assert not list(store.expire(NOON))


@every_store
@any_history
def test_deltas_alone_give_it_back(name: str, seed: int) -> None:
    store, past = new_store(name), history(name, seed)
    replayed(store, past, {})
    assert content(store, past.second.blocks) == past.content


@every_store
@any_history
def test_blocks_alone_give_it_back(name: str, seed: int) -> None:
    store, past = new_store(name), history(name, seed)
    replayed(store, past, dict.fromkeys(past.second.blocks, 2))
    assert content(store, past.second.blocks) == past.content


@every_store
@any_history
@pytest.mark.parametrize("choice", range(5))
def test_any_blocks_with_the_deltas_after_them_give_it_back(
    name: str, seed: int, choice: int
) -> None:
    store, past, rolls = new_store(name), history(name, seed), Random(f"{name} {seed} {choice}")
    written = {block: rolls.randrange(3) for block in sorted(past.second.blocks)}
    replayed(store, past, written)
    assert content(store, past.second.blocks) == past.content


@every_store
@any_history
def test_what_was_told_is_told_once(name: str, seed: int) -> None:
    store, past = new_store(name), history(name, seed)
    for change in past.first.changes:
        store.apply(change, NOON, lambda _: True)
    assert not store.changes(), "what was read is no change"
    assert set(store.touched()) == past.first.touched, "blocks are due that the log lacks"
    assert not set(store.touched())


@every_store
@any_history
def test_what_was_loaded_is_neither_a_change_nor_due(name: str, seed: int) -> None:
    store, past = new_store(name), history(name, seed)
    for block, data in past.second.blocks.items():
        store.load(block, data)
    assert not store.changes()
    assert not set(store.touched())


@every_store
@any_history
def test_a_delta_whose_blocks_all_hold_it_changes_nothing(name: str, seed: int) -> None:
    store, past = new_store(name), history(name, seed)
    for block, data in past.second.blocks.items():
        store.load(block, data)
    for flush in (past.first, past.second):
        for change in flush.changes:
            store.apply(change, NOON, lambda _: False)
    assert content(store, past.second.blocks) == past.content


@every_store
@any_history
@pytest.mark.parametrize("age", AGES)
def test_without_what_is_too_old_the_blocks_that_stay_give_it_back(
    name: str, seed: int, age: int
) -> None:
    store, past = new_store(name), history(name, seed)
    replayed(store, past, dict.fromkeys(past.second.blocks, 2))
    gone = set(store.expire(NOON + age))
    store.changes()
    due = set(store.touched())
    assert not gone & due, "a block that is gone is not written"
    assert gone <= set(past.second.blocks), "only what was there is deleted"
    log = {b: data for b, data in past.second.blocks.items() if b not in gone}
    log |= dumped(store, due)
    again = new_store(name)
    for block, data in log.items():
        again.load(block, data)
    assert content(again, log) == content(store, log)


@every_store
@any_history
def test_what_is_not_needed_for_ever_leaves_no_block(name: str, seed: int) -> None:
    """Even where all of it was taken back; else a log would grow by blocks that hold nothing."""
    store, past = new_store(name), history(name, seed)
    replayed(store, past, dict.fromkeys(past.second.blocks, 2))
    gone = set(store.expire(NOON + AGES[-1]))
    blocks = set(past.second.blocks)
    if name in LASTING:
        assert gone < blocks
    else:
        assert gone == blocks


#: Segments that rows stood for, counts of records, and subscriptions that are active.
LASTING = {"segments", "progress", "active", "subscriptions"}
