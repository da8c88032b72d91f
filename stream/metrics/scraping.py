"""What becomes of a worker's labels when Prometheus scrapes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Labels that say which process was scraped. At a change of owner a series goes on under another,
#: so they are no part of an alert or of what a dashboard shows.
_MOVING: Final = ("instance", "pod")
#: Labels that Prometheus sets itself: where a metric has one of the same name, it gets a prefix.
_TARGET_LABELS: Final = frozenset({"instance", "job"})
_PREFIX: Final = "exported_"


def scraped(dimension: str) -> str:
    """The label under which Prometheus keeps a dimension."""
    return f"{_PREFIX}{dimension}" if dimension in _TARGET_LABELS else dimension


def unscraped(label: str) -> str:
    """The dimension that Prometheus keeps under a label; what ``scraped`` undoes."""
    bare = label.removeprefix(_PREFIX)
    return bare if bare in _TARGET_LABELS else label


def moving(dimensions: Iterable[str] = ()) -> tuple[str, ...]:
    """The labels of the process that was scraped, but for a dimension that keeps such a name."""
    kept = {scraped(dimension) for dimension in dimensions}
    return tuple(name for name in _MOVING if name not in kept)
