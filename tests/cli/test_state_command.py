"""``cxkpi state``: what is asked before anything is destroyed, and what is printed."""

from __future__ import annotations

import io
import json

import pytest
from aiokafka import TopicPartition

from stream.cli.failure import CommandFailed
from stream.cli.state import _confirm, _shard, _text, _told
from stream.config import KafkaConfig
from stream.core.inspection import inspect
from stream.core.settings import Settings
from stream.core.state import Header
from stream.kafka.group import How
from stream.kafka.renewal import Plan, _first_records, _groups
from stream.kafka.topics import Names


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_the_group_s_name_must_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("cxkpi\n"))
    _confirm("cxkpi", yes=False)
    for answer in ("y\n", "cxkpi2\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        with pytest.raises(CommandFailed, match="nothing was done"):
            _confirm("cxkpi", yes=False)


def test_without_a_terminal_only_yes_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("cxkpi\n"))
    with pytest.raises(CommandFailed, match="say --yes"):
        _confirm("cxkpi", yes=False)
    _confirm("cxkpi", yes=True)


def test_without_standard_input_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CommandFailed, match="no terminal to ask on: say --yes"):
        _confirm("cxkpi", yes=False)


@pytest.mark.parametrize(
    ("doomed", "others", "said"),
    [
        (["g-state"], ["h"], ["This destroys the state of group g: g-state."]),
        ([], [], ["Group g has no state, so nothing is destroyed and one is made."]),
        (
            [],
            ["cxkpi", "h"],
            [
                "Group g has no state, so nothing is destroyed and one is made.",
                "Is the name right? There is state of: cxkpi, h.",
            ],
        ),
    ],
)
def test_a_group_without_a_state_may_be_a_mistyped_one(
    doomed: list[str], others: list[str], said: list[str]
) -> None:
    names = Names("", "g")
    planned = Plan("reset", names, doomed, {"cx.visit": 4}, {}, {}, {}, others=others)
    told = _told(KafkaConfig(group="g"), planned)
    assert told[:-1] == said
    assert told[-1] == "Counting begins at the present end of the sources, in 4 partitions."


def test_what_was_begun_with_another_prefix_is_told_with_its_topics() -> None:
    replaced = {TopicPartition(topic, 0): 0 for topic in ("b-cx.visit", "b-cx.cart")}
    planned = Plan(
        "rebuild", Names("", "g"), ["g-state"], {"cx.visit": 4}, {}, {}, {}, "reset", replaced
    )
    assert _told(KafkaConfig(group="g"), planned)[:2] == [
        "A reset was begun before and not finished.",
        "In part it was begun for other topics, and this takes its place: b-cx.cart, b-cx.visit.",
    ]


def test_a_group_with_a_state_is_one_with_all_of_its_topics() -> None:
    there = {*Names("", "b").internal, *Names("", "a-b").internal, "x-state", "y-share", "cx.visit"}
    assert _groups(there) == ["a-b", "b"]


@pytest.mark.parametrize("how", ["reset", "rebuild"])
def test_each_partition_of_a_new_state_has_a_seed_of_its_own_that_nothing_shows(how: How) -> None:
    source = TopicPartition("cx.visit", 0)
    planned = Plan(how, Names("", "g"), [], {"cx.visit": 1}, {source: 3}, {source: 7}, {source: 2})
    seeds = set()
    for number in (0, 0, 1):
        records = _first_records(Settings(), planned, number)
        log = {r.key: r.value for r in records if r.key and r.value}
        seed = Header.read(log).seed
        seeds.add(seed)
        found = _shard(number, inspect(log), {})
        shown = json.dumps(found) + _text(
            {"group": "g", "topic": "t", "members": [], "unfinished": None, "refused": None}
            | {"shards": [found]}
        )
        assert found["version"] is not None
        assert str(seed) not in shown
        assert f"{seed:x}" not in shown
    assert len(seeds) == 3
    assert 0 not in seeds


def test_a_state_that_has_counted_nothing_and_one_that_is_refused_are_told_apart() -> None:
    empty = {
        "partition": 0,
        "refused": None,
        "version": None,
        "size": {"records": 0, "bytes": 0},
    }
    one = {"records": 1, "bytes": 1_000}
    refused = {**empty, "partition": 1, "refused": "it is damaged", "size": one}
    found = {
        "group": "g",
        "topic": "g-state",
        "members": ["cxkpi-worker-a-1 at 10.0.0.1"],
        "unfinished": "reset",
        "refused": "`cxkpi state reset` of group g was begun and not finished: run it again",
    }
    assert _text({**found, "shards": [empty, refused]}) == (
        "group    g, topic g-state\n"
        "worker   cxkpi-worker-a-1 at 10.0.0.1\n"
        "a reset was begun and not finished: run it again\n"
        "\n"
        "partition 0: 0 records, 0 bytes\n"
        "  empty\n"
        "\n"
        "partition 1: 1 record, 1,000 bytes\n"
        "  can't be used: it is damaged"
    )


def test_what_is_remembered_fits_eighty_columns() -> None:
    size = {"records": 3, "bytes": 5}
    kinds = ("event_ids", "answers", "tickets", "carts", "subscriptions", "customers")
    shard = {
        "partition": 0,
        "refused": None,
        "version": "0.1.0",
        "flushes": 2,
        "at": "2026-03-02T10:00:00.000Z",
        "first_event": "2026-03-02T09:00:00.000Z",
        "last_event": "2026-03-02T10:00:00.000Z",
        "segments": 2,
        "remembered": dict.fromkeys(kinds, 12_345_678),
        "gaps": {},
        "forgotten": dict.fromkeys(kinds, 0),
        "positions": {"cx.subscription": 1},
        "lag": {},
        "size": size,
        "deltas": size,
        "blocks": {"ids/cx.subscription": size},
    }
    found: dict[str, object] = {
        "group": "g",
        "topic": "g-state",
        "members": [],
        "unfinished": None,
        "refused": None,
    }
    shown = _text({**found, "shards": [shard]})
    assert max(map(len, shown.splitlines())) <= 80
    assert "12,345,678 event ids, 12,345,678 answers," in shown
    assert "12,345,678 customers" in shown
    assert "deleted unread" not in shown
    assert "forgotten early" not in shown
    lossy = {**shard, "gaps": {"cx.visit": 5_000}, "forgotten": {"answers": 0, "carts": 70}}
    single = _text({**found, "shards": [{**shard, "remembered": dict.fromkeys(kinds, 1)}]})
    assert "1 event id, 1 answer, 1 ticket, 1 cart, 1 subscription, 1 customer" in " ".join(
        single.split()
    )
    lines = _text({**found, "shards": [lossy]}).splitlines()
    assert "  deleted unread       5,000 cx.visit" in lines
    assert "  forgotten early      70 carts" in lines
