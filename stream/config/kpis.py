"""Which KPIs and topics a rule may watch."""

from __future__ import annotations


def kpi_ids() -> list[str]:
    """The ids of all KPIs, in the order of the catalogue."""
    from stream.core import catalogue

    return list(catalogue.KPIS)


def has_spikes(kpi_id: str) -> bool:
    """Whether a multiple of a KPI's usual value means anything: not where it can be negative."""
    from stream.core import catalogue

    kpi = catalogue.KPIS.get(kpi_id)
    return kpi is None or kpi.lowest is None or kpi.lowest >= 0


def topic_names() -> list[str]:
    """The names of all source topics, without prefix."""
    from stream.core import catalogue

    return list(catalogue.TOPICS)
