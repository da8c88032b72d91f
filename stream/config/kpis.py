"""Which KPIs and topics a rule may watch.

The catalogue is imported when it is first asked for: with all that counts behind it that takes a
while, which commands need not wait for that load no configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.core.kpi import Kpi


def kpis() -> Mapping[str, Kpi]:
    """All KPIs by their ids, in the order of the catalogue."""
    from stream.core import catalogue

    return catalogue.KPIS


def kpi_ids() -> list[str]:
    """The ids of all KPIs, in the order of the catalogue."""
    return list(kpis())


def has_spikes(kpi_id: str) -> bool:
    """Whether a multiple of a KPI's usual value means anything: not where it can be negative."""
    kpi = kpis().get(kpi_id)
    return kpi is None or kpi.lowest is None or kpi.lowest >= 0


def topic_names() -> list[str]:
    """The names of all source topics, without prefix."""
    from stream.core import catalogue

    return list(catalogue.TOPICS)
