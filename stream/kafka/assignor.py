"""Which worker reads which partitions: those of one number always go to one worker together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faust.assignor.partition_assignor import PartitionAssignor


class ShardAssignor(PartitionAssignor):
    """Faust's assignor, for topics that may have different numbers of partitions.

    Faust's own shares out topics of each number of partitions apart, so that a shard's partitions
    may come to lie with several workers. Here the topics with the most partitions are shared out,
    which have one of every shard, and the others follow them.

    How many there are is what the worker found at its start (the app's ``partitions``, by topic),
    not what the client was told last: a broker that is just starting may know no topic yet, and
    nobody would read what is left out until the client asks again, minutes later.
    """

    def _counts(self) -> Mapping[str, int]:
        partitions: Mapping[str, int] = self.app.partitions  # type: ignore[attr-defined]
        return partitions

    # Faust calls it on the object, for each assignment that this member has to make.
    def _get_copartitioned_groups(  # type: ignore[override]
        self, topics: set[str], cluster: Any, subscriptions: Any
    ) -> dict[int, list[set[str]]]:
        most = max(self._counts().values())
        return {most: [{topic for topic, count in self._counts().items() if count == most}]}

    def _global_table_standby_assignments(
        self, assignments: Any, partitions_by_topic: Mapping[str, int]
    ) -> Any:
        # Called once the assignments are made and before anything is made of them.
        leader = next(iter(partitions_by_topic))
        for topic, count in self._counts().items():
            for assignment in assignments.values():
                for numbers in (assignment.actives, assignment.standbys):
                    numbers[topic] = [n for n in numbers.get(leader, ()) if n < count]
        return super()._global_table_standby_assignments(assignments, partitions_by_topic)
