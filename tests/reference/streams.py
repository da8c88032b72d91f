"""Small streams in which whatever may go together does: repeats, reopens, limits, late records.

Ids come from tiny pools, and times from earlier times in the stream by a step that is a pane, a
time-out, a window or seven days, less or more a millisecond. What needs several events at the
right times to happen is told as a tale, see ``tales``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.reference.bodies import BODIES, Event, text
from tests.reference.choosing import Drawn, Picks
from tests.reference.config import DEFAULTS, SECOND, Config
from tests.reference.configurations import configs, steps_of
from tests.reference.events import TOPICS, milliseconds
from tests.reference.spoiling import BREAKS, DRESSES, GARBAGE

__all__ = ["NOON", "Composer", "configs", "read_under", "stream", "streams", "text"]

NOON = 1_772_452_800_000
#: Where streams begin: any noon, the end of a year, before and in a leap day, a pane's edge.
STARTS = [
    NOON,
    *(
        milliseconds(moment)
        for moment in (
            "2026-12-31T23:59:59.999Z",
            "2028-02-28T23:59:58Z",
            "2028-02-29T12:00:00.001Z",
            "2000-02-29T00:00:00Z",
        )
    ),
]
_VALUES = ["web", "app", "shop", "other", None, ""]
_LABELS: list[Any] = [
    None,
    {},
    *(
        {k: v for k, v in (("channel", c), ("region", r), ("plan", p)) if v != ""}
        for c in _VALUES
        for r in ("eu", "us", None, "")
        for p in ("", "pro")
    ),
    # Quotes, a new line, look-alikes and the longest value that there may be.
    *({"channel": v, "region": "eu"} for v in ('w"eb\\', "we\nb", "ｗｅｂ", "wеb", "é" * 64)),
    {f"name{i}": None if i else "x" for i in range(16)},
]


class Composer:
    """Makes a stream, event by event; ``records`` are what it has come to."""

    def __init__(
        self, picks: Picks, config: Config, topics: Sequence[str], ids: str, unique: bool
    ) -> None:
        self.picks = picks
        self.config = config
        self.ids = ids
        self.names = [name for name in BODIES if name.split(".")[0] in topics]
        self.records: list[bytes] = []
        self.times = [picks.of([NOON, NOON, *STARTS])]
        self._unique = unique
        # The usual form of a time is read another way than all others, where all have it.
        self._zone = picks.of(["Z", "+00:00"])
        self._ids: list[str] = []
        steps = steps_of(config)
        #: (which earlier time, how far from it): mostly onwards from the last, and half of them
        #: so little that events stand in a window together.
        self._panes = [pane for _, pane in config["windows"].values()]
        self._moves = [
            (back, sign * (step + more))
            for back, sign in ((0, 1), (0, 1), (0, 1), (0, -1), (1, 1), (2, 1), (1, -1), (4, 1))
            for step in steps
            for more in (0, 0, 1, -1)
        ]
        near = [(0, step) for step in (0, 1, SECOND, -SECOND, min(self._panes))]
        self._moves = near * (len(self._moves) // len(near)) + self._moves

    @property
    def now(self) -> int:
        """The time of the event that came last."""
        return self.times[-1]

    def has(self, topic: str) -> bool:
        """Whether there are events of the topic."""
        return any(name.startswith(topic) for name in self.names)

    def wander(self) -> None:
        """Any event at any time from an earlier one."""
        back, step = self.picks.of(self._moves)
        at = self.times[-1 - min(back, len(self.times) - 1)] + step
        if not self.picks.below(8):
            pane = self.picks.of(self._panes)
            at = (at // pane + 1) * pane - self.picks.below(2)
        self.tell(self.picks.of(self.names), at)

    def tell(self, kind: str, at: int, entity: str = "", labels: Any = "any", **said: Any) -> None:
        """An event of a kind, of any entity and labels unless they are given."""
        picks = self.picks
        event = self._event(kind, at, {**picks.of(BODIES[kind]), **said})
        if kind != "subscription.base":
            event[TOPICS[kind.split(".")[0]]] = entity or picks.of(self.ids)
        if labels == "any":
            labels = picks.of(_LABELS)
        if labels is not None:
            event["labels"] = labels
        self._spoil(event)
        self.times.append(at)

    def repeat(self) -> None:
        """The last record once more."""
        self.records.append(self.records[-1])

    def pass_time(self, at: int) -> None:
        """An event that means nothing here, but the time has come to ``at``."""
        kind = "visit.ended" if "visit.ended" in self.names else self.picks.of(self.names)
        self.tell(kind, at, f"v{len(self.records)}")

    def _event(self, kind: str, at: int, body: Event) -> Event:
        event: Event = {
            "event_id": f"e{len(self.records)}",
            "type": kind,
            "occurred_at": self._text(at),
        }
        for field, value in body.items():
            if field.endswith("_ago"):
                event[field.replace("_ago", "_at")] = self._text(at - value)
            else:
                event[field] = value
        return event

    def _text(self, at: int) -> str:
        return text(at).replace("+00:00", self._zone)

    def _spoil(self, event: Event) -> None:
        """The event as a record; some are written otherwise, come again or break a rule."""
        noise = self.picks.below(18)
        whole: Any = event
        if noise in (15, 16):
            whole = self.picks.of(DRESSES)(event)
        elif self._unique:
            pass
        elif noise == 17 and self._ids:
            event["event_id"] = self.picks.of(self._ids)
        elif noise == 14:
            whole = self.picks.of(BREAKS)(event)
        elif noise == 13:
            self.records.append(self.picks.of(GARBAGE))
        self._ids.append(event["event_id"])
        self.records.append(json.dumps(whole).encode())


def stream(
    picks: Picks,
    config: Config = DEFAULTS,
    topics: Sequence[str] = tuple(TOPICS),
    *,
    unique: bool = False,
    least: int = 1,
    most: int = 25,
    ids: str = "ab",
) -> list[bytes]:
    """Records of some topics; with ``unique`` no two have one event id and all are valid.

    Entities have one of the ``ids``.
    """
    from tests.reference.tales import TALES

    composer = Composer(picks, config, topics, ids, unique)
    tales = [tale for topic, tale in TALES if composer.has(topic) and not (unique and not topic)]
    steps = least + picks.below(most - least + 1)
    while len(composer.records) < steps:
        if tales and picks.below(6) == 5:
            picks.of(tales)(composer)
        else:
            composer.wander()
    return composer.records


@st.composite
def streams(
    draw: st.DrawFn,
    topics: tuple[str, ...] = tuple(TOPICS),
    *,
    config: Config = DEFAULTS,
    unique: bool = False,
    most: int = 25,
    ids: str = "ab",
) -> list[bytes]:
    """Streams that hypothesis draws, see ``stream``."""
    return stream(Drawn(draw), config, topics, unique=unique, most=most, ids=ids)


@st.composite
def read_under(
    draw: st.DrawFn, topics: tuple[str, ...] = tuple(TOPICS), *, unique: bool = False
) -> tuple[Config, list[bytes]]:
    """A configuration, and a stream whose times are about what it says."""
    config = draw(configs)
    return config, draw(streams(topics, config=config, unique=unique))
