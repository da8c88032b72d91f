"""Partitions of one number go to one worker, whatever numbers of partitions the topics have.

And whatever the client knows of the topics at that moment.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.assignor import ShardAssignor

TOPICS = ["cx.cart", "cx.signal", "cx.survey", "cx.visit"]


class _Ignorant:
    """The metadata of a client whose broker has just started."""

    def partitions_for_topic(self, topic: str) -> None:
        return None


def _member(name: str, counts: dict[str, int]) -> ShardAssignor:
    sensors = SimpleNamespace(
        on_assignment_start=lambda *_: None,
        on_assignment_error=lambda *_: None,
        on_assignment_completed=lambda *_: None,
    )
    tables = SimpleNamespace(data={}, changelog_topics=set())
    conf = SimpleNamespace(canonical_url=f"http://{name}")
    app: Any = SimpleNamespace(
        sensors=sensors, tables=tables, conf=conf, tracer=None, partitions=counts
    )
    return ShardAssignor(app, replicas=1)


def _rebalance(members: dict[str, ShardAssignor], counts: dict[str, int]) -> dict[str, Any]:
    """One rebalance, led by the first member; what each one has then."""
    told = {name: member.metadata(set(counts)) for name, member in members.items()}
    leader = next(iter(members.values()))
    made = leader.assign(_Ignorant(), told)
    for name, assignment in made.items():
        members[name].on_assignment(assignment)
    return {name: dict(assignment.assignment) for name, assignment in made.items()}


@given(
    counts=st.fixed_dictionaries({topic: st.integers(1, 9) for topic in TOPICS}),
    crews=st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=4),
)
def test_each_partition_has_one_worker_and_no_shard_is_torn(
    counts: dict[str, int], crews: list[set[int]]
) -> None:
    everyone = {f"w{i}": _member(f"w{i}", counts) for i in range(5)}
    for crew in crews:
        members = {f"w{i}": everyone[f"w{i}"] for i in sorted(crew)}
        has = _rebalance(members, counts)
        owners: dict[int, set[str]] = {}
        partitions = []
        for name, topics in has.items():
            for topic, numbers in topics.items():
                partitions += [(topic, number) for number in numbers]
                for number in numbers:
                    owners.setdefault(number, set()).add(name)
        assert sorted(partitions) == sorted((t, n) for t, c in counts.items() for n in range(c))
        assert all(len(names) == 1 for names in owners.values()), owners
        shares = [sum(names == {name} for names in owners.values()) for name in members]
        assert max(shares) <= -(-max(counts.values()) // len(members))


def test_a_rebalance_without_a_change_moves_nothing() -> None:
    counts = dict(zip(TOPICS, (1, 7, 3, 7), strict=True))
    members = {f"w{i}": _member(f"w{i}", counts) for i in range(3)}
    assert _rebalance(members, counts) == _rebalance(members, counts)
