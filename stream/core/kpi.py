"""What a KPI is: counters that facts add to, and a formula over the sums of these counters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
#: Sums of counters by name; each is a column with one entry per series.
Columns = Mapping[str, Column]
Bounds = Literal["wilson", "nps", "none"]
Direction = Literal["up", "down", "neither"]


@dataclass(frozen=True, slots=True)
class Counter:
    """An integer that facts add to and may be taken back from.

    ``scale``: stored integer per unit (10⁹ for fixed point); columns hold ``stored / scale``. A
    ``wide`` counter is kept as two integers (high and low), so that no sum that can occur leaves 64
    bits.
    """

    name: str
    help: str
    scale: int = 1
    wide: bool = False
    #: The labels beyond the dimensions whose series the counter belongs to, such as ``currency``.
    labels: tuple[str, ...] = ()
    #: Counters that came in later releases stand after all of earlier ones, whose places never
    #: move: the state of an older release is read by them.
    since: int = 1


@dataclass(frozen=True, slots=True)
class Kpi:
    """An entry of the catalogue. Gauges, ``replay``, schemas, docs and dashboards read it."""

    id: str
    gauge: str
    title: str
    help: str
    unit: str
    source: str
    good: Direction
    #: Value = scale · numerator / denominator, unless ``value`` says otherwise.
    numerator: Callable[[Columns], Column] | None = None
    denominator: Callable[[Columns], Column] | None = None
    value: Callable[[Columns], Column] | None = None
    scale: float = 1.0
    bounds: Bounds = "none"
    #: Labels beyond those of the rollup, such as ``currency``.
    labels: tuple[str, ...] = ()
    #: Name of the sketch whose quantiles go with this KPI, and their gauge.
    sketch: str | None = None
    sketch_scale: float = 1.0
    quantile_gauge: str | None = None
    #: Lowest and highest value that can occur, for dashboards and tests; None is open.
    lowest: float | None = 0.0
    highest: float | None = None
    #: Whether the value grows with the window, so that a baseline must be scaled to compare.
    grows_with_window: bool = False
    #: The topic whose events feed it, without prefix.
    topic: str = ""
