"""Which KPIs and topics a rule may watch."""

from __future__ import annotations

from typing import Final

#: KPIs that can be negative: a multiple of their usual value means nothing.
NO_SPIKES: Final = frozenset({"nps", "nev", "sentiment"})


def kpi_ids() -> list[str]:
    """The ids of all KPIs, in the order of the catalogue."""
    from stream.core import catalogue

    return list(catalogue.KPIS)


def topic_names() -> list[str]:
    """The names of all source topics, without prefix."""
    from stream.core import catalogue

    return list(catalogue.TOPICS)
