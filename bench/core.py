"""The product's core as a worker runs it, with the state log in memory: no Kafka, no clock.

This is the only place of the benchmark that knows the core's classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stream import collector
from stream.core.evaluate import Evaluator
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings, Window
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values

__all__ = ["DAY", "HOUR", "MINUTE", "SECOND", "WINDOWS", "Core", "Settings", "with_windows"]

#: The default windows, and two more between them.
WINDOWS: Final = (
    Window("5m", 5 * MINUTE, 5 * SECOND),
    Window("1h", HOUR, MINUTE),
    Window("24h", DAY, 10 * MINUTE),
    Window("7d", 7 * DAY, HOUR),
    Window("15m", 15 * MINUTE, 15 * SECOND),
    Window("12h", 12 * HOUR, 5 * MINUTE),
)


#: Amounts make segments of their own, so that 10,000 sets of labels are up to 20,000 of them. All
#: have room: beyond the limit they would fold into one another, and cost less.
_SEGMENTS: Final = 50_000


def with_windows(count: int) -> Settings:
    """The default settings, with the first ``count`` windows and room for more segments."""
    return Settings(windows=WINDOWS[:count], max_segments=_SEGMENTS)


class Core:
    """One shard that takes in records and writes its state log into a dictionary."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.shard = Shard(settings, Values(settings))
        self._log = StateLog(self.shard)
        self._evaluator = Evaluator(settings)
        #: The compacted log: the last record of each key.
        self.records: dict[bytes, bytes] = {}
        self.written_bytes = 0
        self.tombstones = 0

    @staticmethod
    def tune() -> None:
        """Set Python's garbage collector as a worker does."""
        collector.tune()

    def feed(self, topic: str, values: Sequence[bytes | None], now: int) -> int:
        """Take in records of a topic at the time ``now`` (ms); how many were not accepted."""
        return len(self.shard.ingest(topic, values, now))

    def flush(self, now: int) -> None:
        """What is due at ``now`` comes due, and everything becomes durable."""
        shard = self.shard
        shard.advance(now)
        # There is no reader who takes these.
        for renewed in (shard.windows.renewed, shard.segments.renamed, shard.active.renewed):
            renewed.clear()
        for key, value in self._log.flush(now):
            self.written_bytes += len(key) + len(value or b"")
            if value is None:
                self.records.pop(key, None)
                self.tombstones += 1
            else:
                self.records[key] = value

    def evaluate(self, now: int) -> int:
        """Evaluate every series, as for a scrape; how many samples there are."""
        return len(self._evaluator.evaluate([self.shard.share()], now).samples)

    def recovered(self) -> Core:
        """A new shard with the state that the log holds."""
        other = Core(self._settings)
        other._log.recover(self.records)
        return other

    @property
    def log_bytes(self) -> int:
        """Bytes of the log once compacted."""
        return sum(len(k) + len(v) for k, v in self.records.items())

    def remembered(self) -> dict[str, int]:
        """How many entities and event ids are in memory, by kind."""
        return self.shard.remembered()
