"""The values that come out of the core: one sample per KPI, window and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from stream.core.settings import RESERVED_LABELS

LabelPairs = tuple[tuple[str, str], ...]

_QUANTILE: Final = "_quantile"


def quantile_id(kpi: str) -> str:
    """The ``kpi`` of the samples of a KPI's quantiles; the id of no KPI ends so."""
    return kpi + _QUANTILE


def kpi_of(name: str) -> str:
    """The KPI of the samples with this ``kpi``, which are its values or its quantiles."""
    return name.removesuffix(_QUANTILE)


def rollup_of(labels: LabelPairs) -> tuple[str, ...]:
    """The rollup of a series: its label names without those that the KPI itself adds.

    They stand in the order of ``labels``, which samples have sorted by name.
    """
    return tuple(name for name, _ in labels if name not in RESERVED_LABELS)


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One KPI value of one series at the evaluation's time.

    ``labels`` are sorted by name and hold the rollup's labels (and ``currency``, ``quantile`` where
    the KPI has them), not the window. ``value``, ``lower`` and ``upper`` are None where there is no
    value.
    """

    kpi: str
    window: str
    labels: LabelPairs
    value: float | None
    lower: float | None = None
    upper: float | None = None
    numerator: float | None = None
    denominator: float | None = None

    def row(self) -> dict[str, Any]:
        """The series as commands print it with ``--json``."""
        return {**msgspec.structs.asdict(self), "labels": dict(self.labels)}


class Evaluation(msgspec.Struct, frozen=True):
    """All samples that stand for the time ``at`` (ms)."""

    at: int
    samples: tuple[Sample, ...]
    #: The earliest time (ms) of an event ever counted, for rules that ask how much of a window is
    #: covered; None where there is none or nobody asks.
    first: int | None = None
    #: From when on (ms) windows that began empty hold what happened, by label, for the same rules.
    starts: Mapping[str, int] = {}
