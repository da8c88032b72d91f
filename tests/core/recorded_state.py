"""State logs as earlier versions wrote them, and what they have to give: ``tests/data/state-N``.

``python -m tests.core.recorded_state`` records one of the present format, N. Do that when the
format changes, and leave the logs of the formats before where they are: a later version reads them
to the same numbers, or refuses them with the remedy. Never record one of a format that was released
anew: it is there to show that what was written then can be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import msgspec
import orjson
import zstandard

from stream.core import state
from stream.core.evaluate import Evaluator, Wanted
from stream.core.settings import HOUR, MINUTE, Settings
from stream.core.shard import Shard
from stream.core.state import FORMAT, StateLog
from stream.core.values import Values
from stream.generate.company import events
from stream.generate.noise import Noise, noisy
from tests.faults.compare import Message, outcomes_of, probes

DATA: Final = Path(__file__).parents[1] / "data"
START: Final = 1_772_445_600_000
_SPAN: Final = HOUR
_FLUSH: Final = 5 * MINUTE
#: Of the state that is recorded: not that of the formats without one.
_SEED: Final = 0x5EED_5EED_5EED_5EED
_END: Final = START + _SPAN + MINUTE

Log = dict[bytes, bytes]


def settings() -> Settings:
    """Those of the recorded logs; a change of them would be another test."""
    return Settings(cart_timeout_ms=10 * MINUTE, max_values_per_dimension=3)


def recovered(log: Log, seed: int = 0) -> Shard:
    """A shard, which began with a seed, from a log. Raises StateRefused."""
    shard = Shard(settings(), Values(settings()), seed=seed)
    StateLog(shard).recover(log)
    return shard


def told(shard: Shard, corrections: list[Message]) -> dict[str, Any]:
    """What a shard holds: outcomes and totals, before and after events that correct earlier ones.

    So what is remembered shows, too.
    """
    before = _totals(shard)
    for topic, _, value in corrections:
        shard.ingest(topic, [value], _END)
    return {
        "outcomes": {f"{t} {o}": n for (t, o), n in sorted(outcomes_of(shard).items())},
        "positions": dict(sorted(shard.progress.positions.items())),
        "totals": before,
        "corrected": _totals(shard),
    }


def _totals(shard: Shard) -> list[dict[str, Any]]:
    shard.advance(_END)
    shard.fold(_END)
    wanted = {w.label: Wanted(rollups=frozenset([()])) for w in shard.settings.windows}
    found = Evaluator(shard.settings).evaluate([shard.share()], _END, wanted).samples
    return [s.row() for s in found if s.value is not None or s.numerator or s.denominator]


def read(number: int) -> tuple[Log, list[Message], dict[str, Any]]:
    """The log of a format, events that correct what it counted, and what it has to give."""
    packed = zstandard.decompress((DATA / f"state-{number}.zst").read_bytes())
    log, corrections = msgspec.msgpack.decode(packed)
    wanted = orjson.loads((DATA / f"state-{number}.json").read_bytes())
    return dict(log), [tuple(message) for message in corrections], wanted


def recorded() -> Iterator[int]:
    """The formats of which there is a log."""
    for file in sorted(DATA.glob("state-*.zst")):
        yield int(file.stem.removeprefix("state-"))


def _write() -> None:
    noise = Noise(duplicates=0.03, garbage=0.02, late=0.005, orphans=0.01)
    records = list(noisy(events(START, START + _SPAN, 0.15), noise))
    shard = Shard(settings(), Values(settings()), seed=_SEED)
    log, written = StateLog(shard), dict[bytes, bytes | None]()
    # Small blocks and a flush in the midst: there are deltas that are not yet in a block.
    with mock.patch.multiple(state, BLOCK_BUDGET=4_000, BLOCK_COST=0):
        for first in range(START, START + _SPAN, _FLUSH):
            for at, topic, _, value in records:
                if first <= at < first + _FLUSH:
                    shard.ingest(topic, [value], at)
                    positions = shard.progress.positions
                    positions[topic] = positions.get(topic, 0) + 1
            shard.advance(first + _FLUSH)
            written.update(log.flush(first + _FLUSH))
    kept = {key: value for key, value in written.items() if value is not None}
    said = [(topic, value) for _, topic, _, value in records]
    corrections = probes(said, _END, 15)
    packed = msgspec.msgpack.encode([list(kept.items()), corrections])
    (DATA / f"state-{FORMAT}.zst").write_bytes(zstandard.compress(packed, 19))
    wanted = orjson.dumps(told(shard, corrections), option=orjson.OPT_INDENT_2)
    (DATA / f"state-{FORMAT}.json").write_bytes(wanted + b"\n")


if __name__ == "__main__":
    _write()
