"""The transactional ids of a group: who writes what, and so whom a take-over fences.

Only one process at a time has an id. Whoever starts a producer of it takes it away from the one
before, so an owner and whoever wants to end it must know it by the same name.
"""

from __future__ import annotations

from stream.core.catalogue import FAMILIES


def of_shard(group: str, number: int) -> str:
    """The id of a shard's owner."""
    return f"{group}-shard-{number}"


def of_alerts(group: str, family: str) -> str:
    """The id of the owner of a KPI family's alerts."""
    return f"{group}-alerts-{family}"


def of_values(group: str) -> str:
    """The id of whoever changes the registry of values."""
    return f"{group}-values"


def of_redrive(group: str) -> str:
    """The id of whoever sends dead letters again."""
    return f"{group}-redrive"


def of_others(group: str) -> list[str]:
    """The ids of all that write what a group remembers, apart from its shards."""
    return [of_values(group), *(of_alerts(group, family) for family in FAMILIES)]
