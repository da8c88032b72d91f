"""Shards to feed with anything, and what they show."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

import orjson

from stream.core.evaluate import Evaluator
from stream.core.series import Sample
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values

_numbers = count(1)


def event(kind: str, at: str, **fields: Any) -> bytes:
    """An event with an id of its own."""
    return orjson.dumps(
        {"event_id": f"event-{next(_numbers)}", "type": kind, "occurred_at": at, **fields}
    )


def new_shard(settings: Settings, *, event_time: bool = False) -> Shard:
    return Shard(settings, Values(settings), event_time=event_time)


def evaluation(shard: Shard, at: int) -> tuple[Sample, ...]:
    """All samples at a time."""
    shard.advance(at)
    shard.fold(at)
    share = shard.share()
    return Evaluator(shard.settings).evaluate([share], at).samples


def totals(shard: Shard, at: int, window: str) -> dict[str, Sample]:
    """The samples without labels of a window, by KPI."""
    samples = evaluation(shard, at)
    return {s.kpi: s for s in samples if s.window == window and not s.labels}


def outcomes(shard: Shard) -> dict[str, int]:
    """Outcomes over all topics."""
    found: dict[str, int] = {}
    for counts in shard.progress.outcomes.values():
        for outcome, n in counts.items():
            found[outcome] = found.get(outcome, 0) + n
    return found


def recovered(settings: Settings, log: Mapping[bytes, bytes]) -> Shard:
    """A shard that was folded from a log."""
    shard = new_shard(settings)
    StateLog(shard).recover(log)
    return shard


class Log:
    """A shard's state log, compacted as it is written."""

    def __init__(self, shard: Shard) -> None:
        self.records: dict[bytes, bytes] = {}
        self._log = StateLog(shard)

    def flush(self, at: int) -> None:
        for key, value in self._log.flush(at):
            if value is None:
                self.records.pop(key, None)
            else:
                self.records[key] = value
