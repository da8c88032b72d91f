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
    """

    #: How many partitions each topic has, as the assignment that is being made sees it.
    _counts: Mapping[str, int]

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        topics = {t for member in member_metadata.values() for t in member.subscription}
        self._counts = {t: len(cluster.partitions_for_topic(t) or ()) for t in topics}
        return super()._perform_assignment(cluster, member_metadata)

    @classmethod
    def _get_copartitioned_groups(cls, topics: Any, cluster: Any, subscriptions: Any) -> Any:
        groups = super()._get_copartitioned_groups(topics, cluster, subscriptions)
        return {count: groups[count] for count in sorted(groups)[-1:]}

    def _global_table_standby_assignments(
        self, assignments: Any, partitions_by_topic: Mapping[str, int]
    ) -> Any:
        # Called once the assignments are made and before anything is made of them.
        leader = next(iter(partitions_by_topic), None)
        for topic in self._counts.keys() - partitions_by_topic.keys():
            count = self._counts[topic]
            for assignment in assignments.values():
                for numbers in (assignment.actives, assignment.standbys):
                    followed = [n for n in numbers.get(leader, ()) if n < count]
                    if followed:
                        numbers[topic] = followed
        return super()._global_table_standby_assignments(assignments, partitions_by_topic)
