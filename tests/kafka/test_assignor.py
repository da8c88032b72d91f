"""Partitions of one number go to one worker, whatever numbers of partitions the topics have.

And whatever the client knows of the topics at that moment. Nobody has two shards more than another,
and no more of them move than that takes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.kafka.assignor import Claim, ShardAssignor, share_out

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


def _shards(has: dict[str, Any]) -> dict[str, set[int]]:
    """The shards of each one of whose topics it has a partition."""
    return {
        name: {n for numbers in topics.values() for n in numbers} for name, topics in has.items()
    }


_COUNTS = st.fixed_dictionaries({topic: st.integers(1, 9) for topic in TOPICS})
_CREWS = st.lists(st.sets(st.integers(0, 4), min_size=1), min_size=1, max_size=6)


@given(counts=_COUNTS, crews=_CREWS)
def test_each_partition_has_one_worker_and_no_shard_is_torn(
    counts: dict[str, int], crews: list[set[int]]
) -> None:
    everyone = {f"w{i}": _member(f"w{i}", counts) for i in range(5)}
    for crew in crews:
        members = {f"w{i}": everyone[f"w{i}"] for i in sorted(crew)}
        has = _rebalance(members, counts)
        partitions = [
            (topic, number)
            for topics in has.values()
            for topic, numbers in topics.items()
            for number in numbers
        ]
        assert sorted(partitions) == sorted((t, n) for t, c in counts.items() for n in range(c))
        owned = [shard for shards in _shards(has).values() for shard in shards]
        assert sorted(owned) == list(range(max(counts.values()))), has


# At the end one comes back that claims four which others had after it, of whom none is there.
@example(counts=dict(zip(TOPICS, (1, 1, 1, 7), strict=True)), crews=[{0}, {1}, {1, 3, 4}, {0, 2}])
@given(counts=_COUNTS, crews=_CREWS)
def test_nobody_has_two_shards_more_than_another_and_no_more_move_than_that_takes(
    counts: dict[str, int], crews: list[set[int]]
) -> None:
    # Who is away for a while claims at its return what others have long had.
    everyone = {f"w{i}": _member(f"w{i}", counts) for i in range(5)}
    before: dict[str, set[int]] = {}
    for crew in crews:
        names = {f"w{i}" for i in crew}
        # Where all are others than before, nobody can tell who was told last.
        names |= set() if names & before.keys() else set(sorted(before)[:1])
        members = {name: everyone[name] for name in sorted(names)}
        has = _shards(_rebalance(members, counts))
        shares = sorted((len(shards) for shards in has.values()), reverse=True)
        assert shares[0] - shares[-1] <= 1
        had = sorted((len(before.get(name, ())) for name in members), reverse=True)
        stayed = sum(len(before.get(name, set()) & shards) for name, shards in has.items())
        assert stayed == sum(min(pair) for pair in zip(had, shares, strict=True))
        before = has


@given(counts=_COUNTS, crew=st.permutations(["w0", "w1", "w2", "w3"]))
def test_whoever_shares_out_and_in_whatever_order_it_comes_to_the_same(
    counts: dict[str, int], crew: list[str]
) -> None:
    found = []
    for names in (sorted(crew), crew):
        members = {name: _member(name, counts) for name in names}
        _rebalance({name: members[name] for name in sorted(crew)[:2]}, counts)
        found.append(_rebalance(members, counts))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("shards", "shares"),
    [
        (4, [[4], [2, 2], [1, 1, 2], [1, 1, 1, 1], [0, 1, 1, 1, 1]]),
        (6, [[6], [3, 3], [2, 2, 2], [1, 1, 2, 2], [1, 1, 1, 1, 2]]),
    ],
)
def test_each_further_worker_gets_something_to_do_while_there_are_shards(
    shards: int, shares: list[list[int]]
) -> None:
    counts = dict.fromkeys(TOPICS, shards)
    everyone = {f"w{i}": _member(f"w{i}", counts) for i in range(5)}
    for n, share in enumerate(shares, start=1):
        has = _shards(_rebalance({f"w{i}": everyone[f"w{i}"] for i in range(n)}, counts))
        assert sorted(map(len, has.values())) == share


def test_what_two_claim_goes_to_the_one_that_was_told_last() -> None:
    away = Claim(3, frozenset({0, 1}))
    claims = {"a": away, "b": Claim(4, frozenset({0, 1})), "c": Claim(4, frozenset({2, 3}))}
    assert share_out(4, claims) == {"a": [3], "b": [0, 1], "c": [2]}


def test_a_worker_that_does_not_read_all_topics_gets_nothing() -> None:
    counts = dict.fromkeys(TOPICS, 4)
    members = {name: _member(name, counts) for name in ("a", "b")}
    told = {"a": members["a"].metadata(set(TOPICS)), "b": members["b"].metadata({TOPICS[0]})}
    made = members["a"].assign(_Ignorant(), told)
    assert _shards({n: dict(m.assignment) for n, m in made.items()}) == {
        "a": {0, 1, 2, 3},
        "b": set(),
    }


def test_each_member_learns_which_topics_were_shared_out() -> None:
    counts = dict.fromkeys(TOPICS, 4)
    others = {f"p.{topic}": 4 for topic in TOPICS}
    members = {"a": _member("a", counts), "b": _member("b", others)}
    assert members["a"].shared_out == frozenset()
    told = {"a": members["a"].metadata(set(counts)), "b": members["b"].metadata(set(others))}
    for leader, topics in (("a", counts), ("b", others)):
        for name, assignment in members[leader].assign(_Ignorant(), told).items():
            members[name].on_assignment(assignment)
            assert members[name].shared_out == topics.keys()


def test_a_rebalance_without_a_change_moves_nothing() -> None:
    counts = dict(zip(TOPICS, (1, 7, 3, 7), strict=True))
    members = {f"w{i}": _member(f"w{i}", counts) for i in range(3)}
    assert _rebalance(members, counts) == _rebalance(members, counts)
