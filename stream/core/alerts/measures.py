"""What the value of a change is: a KPI, or what alerts count where it is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.core.settings import INPUT

#: ``kpi`` of the alert that says that a rule has more series beyond than it may have alerts for.
SERIES: Final = "series"


@dataclass(frozen=True, slots=True)
class Measure:
    """What is counted, for people, and its unit."""

    id: str
    title: str
    unit: str


_OTHERS: Final = {
    INPUT: Measure(INPUT, "Time without an event", "seconds"),
    SERIES: Measure(SERIES, "Series beyond the threshold", "series"),
}


def measure(kpi: str) -> Kpi | Measure | None:
    """What the ``kpi`` of a change stands for; None where it is not known any more."""
    return _OTHERS.get(kpi) or KPIS.get(kpi)
