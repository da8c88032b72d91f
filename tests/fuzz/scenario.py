"""A scenario: a configuration, records in order, and how they are read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tests.reference.choosing import Picks, Rolled
from tests.reference.config import DAY, HOUR, MINUTE, SECOND, Config
from tests.reference.configurations import configuration, steps_of
from tests.reference.events import TOPICS, BrokenError, parse
from tests.reference.streams import NOON, stream

#: What follows a record: nothing, a batch's end, a look at all values, tidying up, a flush, a flush
#: and a new start, or a new start that has lost what came after the last flush.
Then = Literal["on", "batch", "look", "settle", "flush", "restart", "crash"]
_OFTEN: dict[Then, int] = {
    "batch": 6,
    "look": 1,
    "settle": 2,
    "flush": 3,
    "restart": 1,
    "crash": 1,
}
_THEN = [then for then, times in _OFTEN.items() for _ in range(times)]


@dataclass(frozen=True)
class Step:
    """A record, what the clock shows when it is read, and what follows."""

    record: bytes
    clock: int
    then: Then


@dataclass(frozen=True)
class Scenario:
    """How some records are read, and at which times they are evaluated.

    ``shards`` 0: in event time, as in replay, up to ``until``; else live, by a clock, by so many
    shards that have the entities among them. ``told``: the total is that of the shares that shards
    tell, else that of the shards themselves.
    """

    seed: int
    config: Config
    steps: tuple[Step, ...]
    #: How long after the last record (ms) values are compared, one after another.
    after: tuple[int, ...] = (0,)
    shards: int = 0
    until: int | None = None
    columns: bool = True
    told: bool = False

    def dump(self) -> str:
        """As JSON, records as base64 where they are no text."""
        plain = asdict(self)
        plain["steps"] = [[_plain(s.record), s.clock, s.then] for s in self.steps]
        return json.dumps(plain, indent=1, ensure_ascii=False)

    @classmethod
    def load(cls, text: str) -> Scenario:
        """What ``dump`` gave."""
        plain: dict[str, Any] = json.loads(text)
        steps = tuple(Step(_record(r), clock, then) for r, clock, then in plain["steps"])
        config = plain["config"]
        config["windows"] = {w: tuple(x) for w, x in config["windows"].items()}
        return cls(**{**plain, "steps": steps, "after": tuple(plain["after"])})


def _plain(record: bytes) -> str | Mapping[str, str]:
    try:
        return record.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(record).decode()}


def _record(plain: str | Mapping[str, str]) -> bytes:
    return plain.encode() if isinstance(plain, str) else base64.b64decode(plain["base64"])


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    picks = Rolled(seed)
    config = configuration(picks)
    ids = picks.of(["ab", "abcde", "abcdefghijklmnopqrstuvwxyz"])
    topics = picks.of([tuple(TOPICS), tuple(TOPICS), (picks.of(list(TOPICS)),)])
    records = stream(picks, config, topics, least=10, most=picks.of([30, 80, 200]), ids=ids)
    found = Scenario(
        seed,
        config,
        tuple(Step(r, 0, t) for r, t in zip(records, _thens(picks, len(records)), strict=True)),
        tuple(sorted({0, *(picks.of(steps_of(config)) for _ in range(picks.below(3)))})),
        columns=bool(picks.below(4)),
    )
    if picks.below(2):
        return _live(found, picks)
    if not picks.below(4):
        times = sorted(at for r in records if (at := _time(r)) is not None) or [NOON]
        found = replace(found, until=picks.of(times) + picks.of([0, -1, 1, MINUTE]))
    return found


def of_topic(topic: str, seed: int) -> Scenario:
    """A short stream of a topic, and visits to pass the time, read in a few batches."""
    picks = Rolled(seed)
    config = configuration(picks)
    records = stream(picks, config, (topic, "visit"), most=20)
    thens: list[Then] = ["on", "on", "on", "batch", "batch", "flush", "restart"]
    steps = tuple(Step(record, 0, picks.of(thens)) for record in records)
    after = tuple(sorted(picks.of([0, *steps_of(config)]) for _ in range(2)))
    return Scenario(seed, config, steps, after, columns=bool(picks.below(3)))


def _thens(picks: Picks, n: int) -> list[Then]:
    rarely = picks.of([2, 6, 15])
    return [picks.of(_THEN) if picks.below(rarely) == 0 else "on" for _ in range(n)]


def _live(found: Scenario, picks: Picks) -> Scenario:
    """The same records, read by a clock that mostly shows what they say, and is set back."""
    clock, begins, steps = 0, True, []
    for step in found.steps:
        at = _time(step.record)
        if at is not None and begins:
            clock = at + picks.of([0, 0, 0, 1, SECOND, HOUR, -MINUTE, -MINUTE - 1, -SECOND])
            if not picks.below(30):
                clock += picks.of([DAY, 8 * DAY, -HOUR, -8 * DAY])
        steps.append(replace(step, clock=clock))
        begins = step.then != "on" or not picks.below(4)
    # What is lost by a crash is read again, live at another time.
    steps = [replace(s, then="restart") if s.then == "crash" else s for s in steps]
    shards = picks.of([1, 1, 2, 3])
    return replace(found, steps=tuple(steps), shards=shards, told=bool(picks.below(2)))


def _time(record: bytes) -> int | None:
    try:
        return parse(record).at
    except BrokenError:
        return None
