"""Which worker reads which partitions: those of one number always go to one worker together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor


class Claim(NamedTuple):
    """What a member had when it was last told, and in which round that was."""

    round: int
    shards: frozenset[int]


def share_out(shards: int, claims: Mapping[str, Claim]) -> dict[str, list[int]]:
    """The shards of each member: nobody has two more than another, and as few move as possible.

    What several claim has gone to the one that was told last: the others were away meanwhile. So
    where one may have more than another, who was away comes last: it has lost what it claims.
    """
    kept: dict[str, list[int]] = {name: [] for name in sorted(claims)}
    free = []
    for shard in range(shards):
        claimants = [name for name in kept if shard in claims[name].shards]
        if claimants:
            kept[max(claimants, key=lambda name: claims[name].round)].append(shard)
        else:
            free.append(shard)
    least, larger = divmod(shards, len(kept))
    for place, name in enumerate(
        sorted(kept, key=lambda name: (-claims[name].round, -len(kept[name])))
    ):
        most = least + (place < larger)
        free += kept[name][most:]
        del kept[name][most:]
    for shard in sorted(free):
        min(kept.values(), key=len).append(shard)
    return {name: sorted(numbers) for name, numbers in kept.items()}


class ShardAssignor(PartitionAssignor):
    """Faust's assignor, but what is shared out are shards, one by one.

    Faust's own shares out topics of each number of partitions apart, so that a shard's partitions
    may come to lie with several workers. And it takes from nobody who has no more than fits if all
    had the same, so that a further worker may get nothing.

    How many partitions there are is what the worker found at its start (the app's ``partitions``,
    by topic), not what the client was told last: a broker that is just starting may know no topic
    yet, and nobody would read what is left out until the client asks again, minutes later.

    Who does not read all of the topics gets nothing, and learns which they are from ``shared_out``.
    """

    @property
    def shared_out(self) -> frozenset[str]:
        """The topics that whoever shares out has shared out last: all that it reads itself."""
        return frozenset(self._topic_groups)

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        counts: Mapping[str, int] = self.app.partitions  # type: ignore[attr-defined]
        told = {name: self._get_client_metadata(data) for name, data in member_metadata.items()}
        self._update_member_urls(told)
        claims = {
            name: Claim(
                max(told[name].topic_groups.values(), default=0),
                frozenset(tp.partition for tp in told[name].assignment.active_tps),
            )
            for name, data in member_metadata.items()
            if counts.keys() <= set(data.subscription)
        }
        shares = share_out(max(counts.values()), claims)
        assignments = {
            name: ClientAssignment(
                actives={
                    topic: [number for number in shares.get(name, ()) if number < count]
                    for topic, count in counts.items()
                },
                standbys={},
            )
            for name in member_metadata
        }
        # Faust numbers groups of topics here, of which we have one, so its number is the round:
        # it comes back to whoever shares out next from all who were told of it.
        latest = 1 + max(claim.round for claim in claims.values())
        return self._protocol_assignments(
            assignments,
            self._get_changelog_distribution(assignments),
            self._get_external_topic_distribution(assignments),
            dict.fromkeys(counts, latest),
        )
