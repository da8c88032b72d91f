"""The catalogue: all topics, event types, counters and KPIs, gathered from the topics' modules."""

from __future__ import annotations

from itertools import chain

import numpy as np

from stream.core.event import EventType
from stream.core.formulas import FIXED
from stream.core.kpi import DERIVED, Kpi
from stream.core.layout import Layout
from stream.core.settings import DAY
from stream.core.topic import Topic
from stream.core.topics import cart, signal, subscription, survey, ticket, visit

#: By the topic's name without prefix.
TOPICS: dict[str, Topic] = {
    t.name: t
    for t in (
        survey.TOPIC,
        ticket.TOPIC,
        cart.TOPIC,
        subscription.TOPIC,
        visit.TOPIC,
        signal.TOPIC,
    )
}

#: By the event's ``type``.
EVENT_TYPES: dict[str, EventType] = {e.name: e for t in TOPICS.values() for e in t.types}
#: The topic (without prefix) of each of them, by the same.
TOPIC_OF_TYPE: dict[str, str] = {e.name: t.name for t in TOPICS.values() for e in t.types}

#: By the KPI's id.
KPIS: dict[str, Kpi] = {k.id: k for t in TOPICS.values() for k in t.kpis}

#: Where all counters stand.
LAYOUT = Layout(
    chain.from_iterable(t.counters for t in TOPICS.values()),
    chain.from_iterable(t.sketches for t in TOPICS.values()),
)

#: Of each column what is stored for one.
UNITS: dict[str, int] = (
    dict.fromkeys(DERIVED, 1)
    | {"window_days": DAY, "health_sum": FIXED}
    | {name: counter.scale for name, counter in LAYOUT.counters.items()}
)

#: The topics in the order of the catalogue. The counters of one topic make up a family: they are
#: merged, evaluated and shown by one worker.
FAMILIES: tuple[str, ...] = tuple(TOPICS)

_OWNER: dict[str, int] = {
    name: number
    for number, topic in enumerate(TOPICS.values())
    for name in (*(c.name for c in topic.counters), *topic.sketches)
}
#: The number of the family of each counter, by the counter's position in the layout.
FAMILY_OF_COUNTER = np.array(LAYOUT.owners(_OWNER), dtype=np.int64)
