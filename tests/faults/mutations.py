"""Mistakes in the protocol that the fault cases have to catch, as changes of the product's source.

``mutating`` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutation:
    """One mistake: in the function ``target`` (module:name), ``old`` becomes ``new``."""

    name: str
    #: What goes wrong with it, for readers.
    harm: str
    target: str
    old: str
    new: str
    #: The case that catches it: in process a crash ("log"), a reader ("merge") or "damage"; on the
    #: real broker a schedule's name, "alerts" or "replay".
    case: str


MUTATIONS: Final = (
    # Caught in process, by crashes at every flush of a state log.
    Mutation(
        "tombstone-before-block",
        "deltas are deleted before the blocks that cover them are written",
        "stream.core.state:StateLog.flush",
        "min(first_needed, first) - 1",
        "first - 1",
        "log",
    ),
    Mutation(
        "delta-twice",
        "the last delta is applied twice",
        "stream.core.state:StateLog._fold",
        "for sequence, _, at, changes, *_ in deltas:",
        "for sequence, _, at, changes, *_ in [*deltas, deltas[-1]]:",
        "log",
    ),
    Mutation(
        "block-and-delta",
        "a delta applies to blocks that already hold it",
        "stream.core.state:StateLog._apply",
        "return sequence > written.get((name, block), 0)",
        "return True",
        "log",
    ),
    Mutation(
        "delta-of-the-block-s-flush",
        "a delta applies to blocks of the same flush",
        "stream.core.state:StateLog._apply",
        "return sequence > written",
        "return sequence >= written",
        "log",
    ),
    Mutation(
        "blocks-oldest-last",
        "an older block wins over a newer one that took over its records",
        "stream.core.state:StateLog._fold",
        "key=itemgetter(0)",
        "key=itemgetter(0), reverse=True",
        "log",
    ),
    Mutation(
        "pane-forgotten",
        "panes that changed are not written as blocks",
        "stream.core.tally:WindowStore._add",
        "self._touched.update(",
        "set().update(",
        "log",
    ),
    Mutation(
        "entity-forgotten",
        "entities that changed are not written as blocks",
        "stream.core.buckets:Buckets.touch_all",
        "self.touched.update(",
        "set().update(",
        "log",
    ),
    Mutation(
        "block-of-recovery-forgotten",
        "blocks that deltas changed at a recovery are not written",
        "stream.core.state:StateLog._apply",
        "self._dirty.setdefault((name, block), sequence)",
        "pass",
        "log",
    ),
    Mutation(
        "ids-forgotten",
        "accepted event ids are not part of the delta",
        "stream.core.dedupe:SeenIds.changes",
        "if not self._new:",
        "if self._new is not None:",
        "log",
    ),
    Mutation(
        "positions-late",
        "a delta carries the positions of the flush before",
        "stream.core.progress:Progress._all",
        "dict(self.positions)",
        "dict(self._last[0]) if self._last else {}",
        "log",
    ),
    Mutation(
        "missing-delta-accepted",
        "a log with a hole is folded as if it were whole",
        "stream.core.state:StateLog._check_deltas",
        "if not kept or len(kept) != wanted or kept[0] != covered + 1:",
        "if not kept:",
        "damage",
    ),
    Mutation(
        "missing-block-accepted",
        "a log that lacks blocks is folded as if it were whole",
        "stream.core.state:StateLog._recover",
        "if mark is not None and mark != self._contents.mark:",
        "if mark is Ellipsis:",
        "damage",
    ),
    Mutation(
        "another-block-accepted",
        "a block is taken for the one whose key it has",
        "stream.core.state_records:unpacked_block",
        "if of and of != [key]:",
        "if of is None:",
        "damage",
    ),
    Mutation(
        "other-format-accepted",
        "a log of another format is folded as if it were this one's",
        "stream.core.state:Header.read",
        "if number not in READABLE:",
        "if not number:",
        "damage",
    ),
    # Caught in process, by one who reads what shards tell.
    Mutation(
        "share-of-a-stale-life",
        "what an owner before has told is kept beside what the present one tells",
        "stream.core.merge:Family._part",
        "if part is not None and part.life == life:",
        "if part is not None:",
        "merge",
    ),
    Mutation(
        "life-before-its-time",
        "a new life counts before it has told everything",
        "stream.core.merge:Family._close",
        "if part is voice.coming and part.beat.whole:",
        "if part is voice.coming:",
        "merge",
    ),
    Mutation(
        "partial-sum",
        "a sum is shown that some shards have told nothing to",
        "stream.core.merge:Family.missing",
        'return f"shard {number} has not told its part yet"',
        "continue",
        "merge",
    ),
    Mutation(
        "silence-ignored",
        "a shard that was not heard of for long counts on",
        "stream.core.merge:Family.missing",
        "if silence > SILENCE_MS:",
        "if silence < 0:",
        "merge",
    ),
    Mutation(
        "share-in-pieces",
        "a share is taken in record by record",
        "stream.core.merge:Family._take",
        "voice.share.append((part, record, kind, where, found))",
        "part.take(record, kind, where, found)",
        "merge",
    ),
    Mutation(
        "complete-as-the-quickest",
        "the sum counts as complete up to where one shard is",
        "stream.core.merge:Family.complete_to",
        "min(heard, *(",
        "max(0, *(",
        "merge",
    ),
    Mutation(
        "gone-pane-kept",
        "a pane that was told anew, or is gone, is added to what it was",
        "stream.core.parts:PaneSums.between",
        "*(-v for _, v in gone)",
        "*(0 * v for _, v in gone)",
        "merge",
    ),
    Mutation(
        "changed-pane-untold",
        "a pane that changes after it was told is not told again",
        "stream.core.sharing:Sharing._panes",
        "for block in changed:",
        "for block in set[str]():",
        "merge",
    ),
    Mutation(
        "changed-piece-untold",
        "what is counted of a label set that was told is not told again",
        "stream.core.sharing:Sharing._active",
        "if told is None or piece.renewed:",
        "if told is None:",
        "merge",
    ),
    Mutation(
        "renamed-row-untold",
        "a row that stands for another segment now is not told again",
        "stream.core.sharing:Sharing._rows",
        "for row in renamed}",
        "for row in renamed if row == 0}",
        "merge",
    ),
    Mutation(
        "share-apart-from-flush",
        "a share is written before the state that it tells of",
        "stream.kafka.shards:OwnedShard.flush",
        "        await self._writer.write([*letters, *records, *shares])\n",
        """\
        await self._writer.write(shares)
        await self._writer.write([*letters, *records])
""",
        "merge",
    ),
    # Caught on the real broker.
    Mutation(
        "values-decided-by-each",
        "every worker decides by itself which values have a place of their own",
        "stream.kafka.owner:ShardOwner.__init__",
        "Values(settings, shared=True)",
        "Values(settings)",
        "replay",
    ),
    Mutation(
        "no-fencing",
        "every process has a transactional id of its own",
        "stream.kafka.log:TransactionalWriter.__init__",
        "transactional_id=transactional_id,",
        "transactional_id=f\"{transactional_id}-{__import__('os').getpid()}\",",
        "zombie-with-dead-letters",
    ),
    Mutation(
        "read-before-fence",
        "the state is read before the owner before is fenced",
        "stream.kafka.shards:OwnedShard.recover",
        """\
        await self._writer.start()
        state, prefix = self._topics.names.state, self._topics.names.prefix
        records = await read_log(self._kafka, state, self.number)
""",
        """\
        state, prefix = self._topics.names.state, self._topics.names.prefix
        records = await read_log(self._kafka, state, self.number)
        await self._writer.start()
""",
        "take-over",
    ),
    Mutation(
        "dirty-read",
        "the state log is read with what was never committed",
        "stream.kafka.reading:reader",
        'isolation_level="read_committed"',
        'isolation_level="read_uncommitted"',
        "unacknowledged",
    ),
    Mutation(
        "group-positions",
        "reading goes on where the group's commit says",
        "stream.kafka.shards:OwnedShard.find_positions",
        "progress = self.shard.progress\n",
        """\
progress = self.shard.progress
        committed = await thread.call_thread(thread._ensure_consumer()._coordinator
            .fetch_committed_offsets, list(partitions))
        progress.positions = {
            topic: committed[tp].offset if tp in committed else first[tp]
            for tp, topic in partitions.items()
        }
""",
        "unacknowledged",
    ),
    Mutation(
        "sent-again",
        "a flush of unknown outcome is sent again",
        "stream.kafka.shards:OwnedShard.flush",
        "        await self._writer.write([*letters, *records, *shares])\n",
        """\
        try:
            await self._writer.write([*letters, *records, *shares])
        except Exception:
            await self._writer.stop()
            type(self._writer).__init__(
                self._writer, self._kafka, ids.of_shard(self._kafka.group, self.number), 1 << 24
            )
            await self._writer.start()
            await self._writer.write([*letters, *records, *shares])
""",
        "answer-lost",
    ),
    Mutation(
        "failed-flush-forgiven",
        "a shard whose flush failed goes on with what it has in memory",
        "stream.kafka.shards:OwnedShard.flush",
        "        await self._writer.write([*letters, *records, *shares])\n",
        """\
        try:
            await self._writer.write([*letters, *records, *shares])
        except Exception:
            await self._writer.stop()
            type(self._writer).__init__(
                self._writer, self._kafka, ids.of_shard(self._kafka.group, self.number), 1 << 24
            )
            await self._writer.start()
""",
        "refused",
    ),
    Mutation(
        "letters-apart",
        "dead letters are written in a transaction of their own",
        "stream.kafka.shards:OwnedShard.flush",
        "        await self._writer.write([*letters, *records, *shares])\n",
        """\
        await self._writer.write(letters)
        await self._writer.write([*records, *shares])
""",
        "committed",
    ),
    Mutation(
        "aborted-counted",
        "records of an aborted transaction in a source are read",
        "stream.kafka.transport:ChunkThread._create_worker_consumer",
        'consumer._isolation_level = "read_committed"',
        'consumer._isolation_level = "read_uncommitted"',
        "torn-delivery",
    ),
    Mutation(
        "hole-ignored",
        "a chunk is counted wherever it begins",
        "stream.kafka.owner:ShardOwner.apply",
        "if chunk.start == shard.positions[topic]:",
        "if chunk.start is not None:",
        "torn-delivery",
    ),
    # Caught by workers whose alerts change all the time.
    Mutation(
        "change-apart-from-state",
        "a change of an alert is written before the state that it leads to",
        "stream.kafka.alert_log:AlertLog._write_together",
        "        for records in earlier:\n",
        """\
        told = [r for r in last if r.topic == self._names.alerts]
        last = [r for r in last if r.topic != self._names.alerts]
        for records in [*earlier, told]:
""",
        "alerts",
    ),
    Mutation(
        "owner-of-alerts-not-fenced",
        "every process writes alerts under an id of its own",
        "stream.kafka.alert_log:AlertLog.__init__",
        "ids.of_alerts(kafka.group, family)",
        "ids.of_alerts(kafka.group, f\"{family}-{__import__('os').getpid()}\")",
        "alerts",
    ),
    Mutation(
        "alerts-forgotten",
        "whoever takes alerts over begins with none",
        "stream.kafka.alert_log:states_in",
        "if kind == _STATE and owner == family:",
        "if kind == _STATE and owner == topic:",
        "alerts",
    ),
)


def named(name: str) -> Mutation:
    """The mutation of a name."""
    return next(m for m in MUTATIONS if m.name == name)
