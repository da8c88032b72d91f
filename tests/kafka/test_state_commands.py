"""A state is shown, made anew, found lost, and read under other settings, on a real broker."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import PolicyViolationError
from click.testing import CliRunner, Result

from stream.broker import Broker
from stream.cli import cli
from stream.core.alerts import AlertState, AlertStates
from stream.core.catalogue import FAMILIES, TOPICS
from stream.core.state import StateRefused
from stream.kafka import ids, renewal
from stream.kafka.administration import TopicsUnfit
from stream.kafka.alert_log import AlertLog
from stream.kafka.group import Note, commit, members
from stream.kafka.log import FlushFailed, Outgoing, TransactionalWriter
from stream.kafka.reading import started
from stream.kafka.topics import COMPACTED, STATE_LIMIT, Names, prepare
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_outages import accepted, answers
from tests.kafka.test_trouble import counted, create, delete, refused
from tests.kafka.topics import administer, await_topics
from tests.kafka.workers import WorkerProcess

GARBAGE = [("cx.survey", str(i).encode(), b"{") for i in range(12)]


def cxkpi(site: Site, *words: str) -> Result:
    return CliRunner().invoke(cli, [*words, "--config", str(site.file)])


def printed(result: Result) -> Any:
    return json.loads(result.stdout)


def read(site: Site, n: int) -> None:
    """Have answers and garbage counted by a worker that ends."""
    worker = counted(site, n)
    site.send(*GARBAGE)
    worker.until(lambda: len(site.dead_letters()) == len(GARBAGE), "written the dead letters")
    end(site, worker)


def end(site: Site, worker: WorkerProcess) -> None:
    """Have a worker end, and wait until its group knows.

    Where the broker is slow to answer the worker ends without, and counts as one until its session
    is over.
    """
    assert worker.terminate() < 30

    async def left(admin: AIOKafkaAdminClient) -> None:
        async with asyncio.timeout(60):
            while await members(admin, site.group):  # noqa: ASYNC110 - a group sets no event.
                await asyncio.sleep(0.1)

    administer(site.bootstrap, left)


def told_beforehand(site: Site, said: str) -> list[bool]:
    """What is asked of the state tells why it is refused; whether that is so, by partition."""
    shown, checked = (cxkpi(site, *w, "--json") for w in (("state", "show"), ("check", "--state")))
    assert (shown.exit_code, checked.exit_code) == (1, 1)
    reason = printed(shown)["refused"]
    assert said in reason
    state = printed(checked)["state"]
    assert (state["ok"], state["refused"], state["facts"]) == (False, reason, [])
    assert f"can't be used: {reason}\n" in cxkpi(site, "state", "show").stdout + "\n"
    lines = cxkpi(site, "check", "--state").stdout.splitlines()
    assert lines[-1] == f"state       {reason}"
    return [bool(s["refused"]) for s in printed(shown)["shards"]]


def counts_again(site: Site, n: int) -> None:
    """A worker counts all answers, and no dead letter lies there twice."""
    worker = site.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == n, "counted all")
    end(site, worker)
    assert len(site.dead_letters()) == len(GARBAGE)


def test_what_lies_in_a_state_is_shown_while_a_worker_goes_on(site: Site) -> None:
    worker = counted(site, 40)
    result = cxkpi(site, "state", "show", "--json")
    found = printed(result)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (found["group"], found["topic"]) == (site.group, f"{site.group}-state")
    (member,) = found["members"]
    assert re.fullmatch(r"cxkpi-worker-\S+-\d+ at \S+", member)
    assert found["unfinished"] is None
    assert [s["partition"] for s in found["shards"]] == [0, 1, 2, 3]
    assert sum(s["outcomes"]["cx.survey"]["accepted"] for s in found["shards"]) == 40
    assert sum(s["positions"]["cx.survey"] for s in found["shards"]) == 40
    assert sum(s["remembered"]["answers"] for s in found["shards"]) == 40
    assert found["lag"]["cx.survey"] == 0
    assert all(s["size"]["bytes"] and s["deltas"]["records"] for s in found["shards"])
    worker.terminate()
    site.send(*answers(40, 3))
    assert printed(cxkpi(site, "state", "show", "--json"))["lag"]["cx.survey"] == 3
    text = cxkpi(site, "state", "show").stdout
    assert f"group    {site.group}, topic {site.group}-state" in text
    assert "answers" in text


def test_a_group_without_a_state_has_none_to_show(site: Site) -> None:
    result = cxkpi(site, "state", "show")
    assert result.exit_code == 1
    assert "there is no state" in result.stdout


def test_nothing_is_destroyed_under_live_workers_or_without_a_yes(site: Site) -> None:
    worker = counted(site, 10)
    for how in ("reset", "rebuild"):
        result = cxkpi(site, "state", how, "--yes")
        assert result.exit_code == 2
        assert f"workers of group {site.group} are running" in result.stderr
        assert "127.0.0.1" in result.stderr
    end(site, worker)
    result = cxkpi(site, "state", "reset")
    assert result.exit_code == 2
    assert f"This destroys the state of group {site.group}: {site.group}-state" in result.stderr
    assert "say --yes" in result.stderr
    again = site.worker()
    again.until(lambda: again.ready() and accepted(again) == 10, "kept its state")


def test_a_reset_begins_at_the_present_ends(site: Site) -> None:
    read(site, 20)
    site.send(*answers(20, 5))
    result = cxkpi(site, "state", "reset", "--yes", "--json")
    assert result.exit_code == 0, result.output
    names = Names(site.prefix, site.group)
    assert printed(result)["deleted"] == list(names.internal)
    assert printed(result)["records_to_read"] == 0
    site.send(*answers(25, 7))
    counts_again(site, 7)


def test_a_rebuild_counts_everything_anew_and_writes_no_dead_letter_twice(site: Site) -> None:
    read(site, 20)
    result = cxkpi(site, "state", "rebuild", "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert printed(result)["deleted"] == [f"{site.group}-state", f"{site.group}-share"]
    assert printed(result)["records_to_read"] == 32
    counts_again(site, 20)
    # What comes later is buried as always, also after another rebuild.
    site.send(("cx.visit", b"v", b"["))
    worker = site.worker()
    worker.until(lambda: len(site.dead_letters()) == len(GARBAGE) + 1, "buried what is new")
    end(site, worker)
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0
    worker = site.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == 20, "counted all")
    assert len(site.dead_letters()) == len(GARBAGE) + 1


def test_sources_that_have_grown_are_read_anew_with_as_many_partitions(site: Site) -> None:
    read(site, 20)
    grown = {site.source(t): NewPartitions(6) for t in ("cx.survey", "cx.visit")}
    administer(site.bootstrap, lambda admin: admin.create_partitions(grown))
    await_topics(site.bootstrap, dict.fromkeys(grown, 6))
    assert told_beforehand(site, "6 partitions") == [True] * 4
    line = refused(site.worker())
    assert "6 partitions" in line
    assert "cxkpi state rebuild" in line
    result = cxkpi(site, "state", "rebuild", "--yes", "--json")
    assert result.exit_code == 0, result.output
    assert printed(result)["partitions"] == 6
    counts_again(site, 20)
    site.send(*answers(20, 50), *[("cx.visit", str(i).encode(), b"") for i in range(60)])
    worker = site.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == 70, "counted in all partitions")
    worker.until(lambda: len(site.dead_letters()) == len(GARBAGE) + 60, "buried in all partitions")
    assert {r.partition for r in site.dead_letters()} == set(range(6))


@pytest.mark.parametrize("gone", [["state"], ["state", "alerts", "share", "values"]])
def test_a_state_that_was_deleted_is_never_taken_for_a_new_one(site: Site, gone: list[str]) -> None:
    read(site, 20)
    delete(site, *(f"{site.group}-{name}" for name in gone))
    assert told_beforehand(site, "state is lost") == []
    for _ in range(2):
        line = refused(site.worker())
        assert f"{site.group}-state" in line
        assert "cxkpi state rebuild" in line
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0
    worker = site.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == 20, "counted all")
    assert len(site.dead_letters()) == len(GARBAGE)


def test_alerts_that_begin_anew_beside_a_state_are_told_but_not_after_a_reset(site: Site) -> None:
    read(site, 10)
    topic = f"{site.group}-alerts"
    said = f"topic {topic} is gone though group {site.group} has counted"
    delete(site, topic)
    worker = site.worker()
    worker.until_ready()
    assert worker.log().count(said) == 1
    end(site, worker)
    for how in ("reset", "rebuild"):
        assert cxkpi(site, "state", how, "--yes").exit_code == 0
        worker = site.worker()
        worker.until_ready()
        assert said not in worker.log()
        end(site, worker)


class Killed(BaseException):
    """The process ends here."""


def _die(*_: Any, **__: Any) -> Any:
    raise Killed


def _dies_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Let the nth call of a function be the last thing that happens."""
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counting(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        return _die() if calls == call else real(*arguments, **named)

    monkeypatch.setattr(owner, name, counting)


@pytest.mark.parametrize(
    ("how", "owner", "name", "call"),
    [
        ("rebuild", renewal, "_delete", 1),
        ("reset", TransactionalWriter, "write", 3),
        ("rebuild", renewal, "commit", 2),
    ],
)
def test_what_was_killed_halfway_is_finished_by_running_it_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, how: str, owner: Any, name: str, call: int
) -> None:
    read(site, 20)
    with monkeypatch.context() as patch:
        _dies_at(patch, owner, name, call)
        with pytest.raises(Killed):
            cxkpi(site, "state", how, "--yes")
    with pytest.raises((StateRefused, TopicsUnfit), match="run it again"):
        asyncio.run(prepare(site.config.kafka))
    assert printed(cxkpi(site, "state", "show", "--json"))["unfinished"] == how
    assert printed(cxkpi(site, "check", "--state", "--json"))["state"]["ok"] is False
    site.send(*answers(20, 5))
    assert cxkpi(site, "state", how, "--yes").exit_code == 0
    assert printed(cxkpi(site, "state", "show", "--json"))["unfinished"] is None
    counts_again(site, 5 if how == "reset" else 25)


def test_a_rebuild_buries_what_a_reset_that_was_broken_off_would_have_skipped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(site, 20)
    site.send(("cx.visit", b"v", b"["))
    with monkeypatch.context() as patch:
        _dies_at(patch, renewal, "commit", 2)
        with pytest.raises(Killed):
            cxkpi(site, "state", "reset", "--yes")
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0
    worker = site.worker()
    worker.until(lambda: len(site.dead_letters()) == len(GARBAGE) + 1, "buried what is new")
    worker.until(lambda: worker.ready() and accepted(worker) == 20, "counted all")
    assert len(site.dead_letters()) == len(GARBAGE) + 1


@pytest.mark.parametrize("name", ["_delete", "_grow_dead_letters", "commit"])
def test_what_was_begun_with_another_prefix_gives_way(
    sites: Sites, broker: Broker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    site = sites(broker.bootstrap)
    read(site, 20)
    other = sites(broker.bootstrap, like=site, prefix=f"other-{site.prefix}")
    create(other, {other.source(topic): {} for topic in TOPICS})
    with monkeypatch.context() as patch:
        _dies_at(patch, renewal, name, 2 if name == "commit" else 1)
        with pytest.raises(Killed):
            cxkpi(other, "state", "rebuild", "--yes")
    result = cxkpi(site, "state", "rebuild", "--yes")
    assert result.exit_code == 0
    assert f"this takes its place: {other.source('cx.cart')}, " in result.stderr
    assert printed(cxkpi(site, "state", "show", "--json"))["unfinished"] is None
    assert printed(cxkpi(site, "check", "--state", "--json"))["state"]["ok"] is True
    counts_again(site, 20)


@pytest.mark.parametrize(
    ("noted", "state_is_gone"), [(1, False), (6, False), (1, True)], ids=["few", "all", "lost"]
)
def test_no_dead_letter_is_doubled_where_a_worker_went_on_after_a_rebuild_was_begun(
    site: Site, noted: int, state_is_gone: bool
) -> None:
    """Its commits have replaced most of the notes, or it has read beyond what they say."""
    read(site, 20)
    topics = sorted(TOPICS, reverse=True)[:noted]
    note = Note("rebuild", 0, 0).offset_and_metadata()
    places = [TopicPartition(site.source(t), n) for t in topics for n in range(4)]
    asyncio.run(commit(site.config.kafka, dict.fromkeys(places, note)))
    if state_is_gone:
        delete(site, f"{site.group}-state")
    with pytest.raises((StateRefused, TopicsUnfit), match="run it again"):
        asyncio.run(prepare(site.config.kafka))
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0
    counts_again(site, 20)


def _refused_rebuild(site: Site) -> str:
    """What a rebuild that can't be done says last."""
    result = cxkpi(site, "state", "rebuild", "--yes")
    assert result.exit_code == 2
    return result.stderr.splitlines()[-1]


def test_a_run_that_another_has_taken_over_from_ends_with_one_line(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = site.config.kafka
    asyncio.run(prepare(kafka))
    grow = renewal._grow_dead_letters
    # Runs that other tests have killed leave clients behind, which are none of this one's.
    gc.collect()
    caplog.clear()

    async def while_another_begins(*of_ours: Any) -> None:
        another = TransactionalWriter(kafka, ids.of_shard(kafka.group, 2), STATE_LIMIT)
        await another.start()
        await another.stop()
        await grow(*of_ours)

    with monkeypatch.context() as patch:
        patch.setattr(renewal, "_grow_dead_letters", while_another_begins)
        last_line = _refused_rebuild(site)
    assert last_line == (
        f"Error: another reset or rebuild of group {kafka.group} has taken over:"
        " `cxkpi state show` tells what comes of it"
    )
    gc.collect()
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert printed(cxkpi(site, "state", "show", "--json"))["unfinished"] == "rebuild"
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0


@pytest.mark.parametrize(("call", "unfinished"), [(1, None), (2, "rebuild")])
def test_a_worker_that_joins_before_the_offsets_are_committed_is_told_with_the_remedy(
    site: Site, monkeypatch: pytest.MonkeyPatch, call: int, unfinished: str | None
) -> None:
    asyncio.run(prepare(site.config.kafka))
    calls = 0

    async def joined_by_another(*of_ours: Any) -> None:
        nonlocal calls
        calls += 1
        if calls < call:
            return await commit(*of_ours)
        topic = site.source("cx.visit")
        worker = AIOKafkaConsumer(
            topic,
            bootstrap_servers=site.bootstrap,
            group_id=site.group,
            enable_auto_commit=False,
        )
        async with started(worker):
            await worker.getmany(timeout_ms=100)
            return await commit(*of_ours)

    with monkeypatch.context() as patch:
        patch.setattr(renewal, "commit", joined_by_another)
        last_line = _refused_rebuild(site)
    assert last_line == (
        f"Error: a worker of group {site.group} has joined meanwhile: stop all workers of the"
        " group and run it again"
    )
    assert printed(cxkpi(site, "state", "show", "--json"))["unfinished"] == unfinished
    assert cxkpi(site, "state", "rebuild", "--yes").exit_code == 0


def test_whoever_had_the_alerts_writes_none_after_a_renewal(site: Site) -> None:
    """A worker that slept through it would bring back alerts that were destroyed."""
    kafka = site.config.kafka

    async def alerts_after_a_renewal() -> None:
        names = (await prepare(kafka)).names
        owners = [AlertLog(kafka, names, family) for family in FAMILIES]
        state = AlertState("Low", phase="firing")
        for owner in owners:
            await owner.take_over()
            await owner.write(AlertStates(1, (state,)), ())
        await renewal.renew(kafka, site.config.core(), "reset")
        await prepare(kafka)  # As the next worker does, and the topics are there again.
        for owner in owners:
            with pytest.raises(FlushFailed):
                await owner.write(AlertStates(2), ())
            await owner.close()

    asyncio.run(alerts_after_a_renewal())


def _write(site: Site, record: Outgoing) -> None:
    async def writing() -> None:
        writer = TransactionalWriter(site.config.kafka, f"{site.group}-test", 1_000_000)
        await writer.start()
        await writer.write([record])
        await writer.stop()

    asyncio.run(writing())


def test_a_damaged_state_is_refused_shown_and_rebuilt(site: Site) -> None:
    read(site, 20)

    _write(site, Outgoing(f"{site.group}-state", 1, b"header", b"nonsense"))
    line = refused(site.worker())
    assert f"topic {site.group}-state partition 1" in line
    assert "damaged" in line
    assert told_beforehand(site, line.split(": ", 1)[1]) == [False, True, False, False]
    result = cxkpi(site, "state", "rebuild", "--yes")
    assert result.exit_code == 0
    counts_again(site, 20)


def test_a_check_says_what_a_worker_then_logs_and_does(sites: Sites, broker: Broker) -> None:
    site = sites(broker.bootstrap)
    text = cxkpi(site, "check", "--state").stdout
    assert "state       there is none yet" in text
    read(site, 20)
    assert "state       all of it is kept" in cxkpi(site, "check", "--state").stdout
    head = 'dimensions = ["channel"]\nrollups = [[], ["channel"]]\n'
    other = sites(broker.bootstrap, head=head, like=site)
    result = cxkpi(other, "check", "--state", "--json")
    becomes = printed(result)["state"]
    assert (result.exit_code, becomes["ok"], becomes["refused"]) == (1, False, None)
    assert [(f["what"], f["becomes"]) for f in becomes["facts"]] == [
        ("dimension region", "dropped")
    ]
    text = cxkpi(other, "check", "--state").stdout
    assert "state       dimension region: dropped; counts are added up over its values" in text
    worker = other.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == 20, "kept what it counted")
    assert worker.log().count("dimension region: dropped") == 1
    assert worker.log().count("`cxkpi check --state` tells it before a start") == 1
    worker.until(lambda: cxkpi(other, "check", "--state").exit_code == 0, "written the change")
    worker.terminate()
    again = other.worker()
    again.until(lambda: again.ready() and accepted(again) == 20, "kept what it counted")
    assert "other settings" not in again.log()


def _empty_a_partition(site: Site) -> None:
    place = TopicPartition(f"{site.group}-state", 1)
    # Records of a topic that is only compacted can't be deleted.
    deletable, compacted = (
        ConfigResource(
            ConfigResourceType.TOPIC, place.topic, configs=COMPACTED | {"cleanup.policy": p}
        )
        for p in ("compact,delete", "compact")
    )
    everything = {place: RecordsToDelete(before_offset=-1)}

    async def empty(admin: AIOKafkaAdminClient) -> None:
        async with asyncio.timeout(60):
            while True:
                # The broker takes a setting before it goes by it.
                with suppress(PolicyViolationError):
                    await admin.delete_records(everything)
                    return
                await asyncio.sleep(0.05)

    administer(site.bootstrap, lambda admin: admin.alter_configs([deletable]))
    administer(site.bootstrap, empty)
    administer(site.bootstrap, lambda admin: admin.alter_configs([compacted]))


def _damage_the_values(site: Site) -> None:
    _write(site, Outgoing(f"{site.group}-values", 0, b"values", b"nonsense"))


@pytest.mark.parametrize(
    ("harm", "said", "shards"),
    [
        (_empty_a_partition, "its state is lost", [False, True, False, False]),
        (_damage_the_values, "is damaged", [False] * 4),
    ],
)
def test_what_every_worker_would_refuse_is_told_beforehand(
    site: Site, harm: Callable[[Site], None], said: str, shards: list[bool]
) -> None:
    read(site, 40)
    harm(site)
    assert told_beforehand(site, said) == shards
    assert said in refused(site.worker())


RULE = '[[alert]]\nname = "Low"\nkpi = "csat"\nwindow = "1h"\nbelow = 0.5\n'


@pytest.mark.parametrize(("rules", "is_read"), [(RULE, True), ("", False)])
def test_a_damaged_state_of_alerts_is_told_where_there_are_rules(
    sites: Sites, broker: Broker, rules: str, is_read: bool
) -> None:
    site = sites(broker.bootstrap, more=rules)
    asyncio.run(prepare(site.config.kafka))
    _write(site, Outgoing(f"{site.group}-alerts", 0, b"cx.survey", b"nonsense"))
    if not is_read:
        assert cxkpi(site, "state", "show").exit_code == 0
        return
    assert told_beforehand(site, f"topic {site.group}-alerts is damaged") == [False] * 4
    assert told_beforehand(site, "delete that topic, and start them again") == [False] * 4
    delete(site, f"{site.group}-alerts")
    assert cxkpi(site, "state", "show").exit_code == 0
    asyncio.run(prepare(site.config.kafka))


@pytest.mark.parametrize("partitions", [1, 8])
def test_shares_with_another_number_of_partitions_are_refused_until_they_are_deleted(
    site: Site, partitions: int
) -> None:
    shares = f"{site.group}-share"
    asyncio.run(prepare(site.config.kafka))
    delete(site, shares)
    create(site, {shares: COMPACTED}, partitions)
    said = f"topic {shares} has {partitions} partitions, not 6, one for each KPI family; stop all"
    with pytest.raises(TopicsUnfit, match=said):
        asyncio.run(prepare(site.config.kafka))
    told_beforehand(site, said)
    assert "delete that topic" in refused(site.worker())
    delete(site, shares)
    asyncio.run(prepare(site.config.kafka))
    assert cxkpi(site, "check", "--state").exit_code == 0


def test_a_source_that_is_gone_is_made_anew_by_no_worker_that_has_read_it(site: Site) -> None:
    """Else it would be taken for the former once it has as many records."""
    read(site, 40)
    survey = site.source("cx.survey")
    delete(site, survey)
    for _ in range(2):
        assert told_beforehand(site, "is gone but was read up to") == [True] * 4
        assert f"topic {survey} partition 0 is gone but was read up to" in refused(site.worker())
    create(site, {survey: {}})
    said = f"topic {survey} was made anew since it was read; stop all workers of the group"
    assert said in refused(site.worker())
    assert told_beforehand(site, said) == [True] * 4


@pytest.mark.parametrize("how", ["reset", "rebuild"])
def test_a_source_that_was_made_anew_and_holds_more_than_was_read_is_another(
    site: Site, how: str
) -> None:
    """Its offsets do not tell, but its id does."""
    read(site, 40)
    survey = site.source("cx.survey")
    delete(site, survey)
    create(site, {survey: {}})
    site.send(*GARBAGE)
    site.send(*answers(100, 200))
    said = f"topic {survey} was made anew since it was read; stop all workers of the group"
    assert told_beforehand(site, said) == [True] * 4
    assert said in refused(site.worker())
    assert cxkpi(site, "state", how, "--yes").exit_code == 0
    assert cxkpi(site, "check", "--state").exit_code == 0
    site.send(*answers(300, 5))
    worker = site.worker()
    n = 5 if how == "reset" else 205
    worker.until(lambda: worker.ready() and accepted(worker) == n, "counted what is there now")
    # The former had letters up to the same position; those of what is read anew are others.
    assert len(site.dead_letters()) == len(GARBAGE) * (1 if how == "reset" else 2)


def test_a_source_of_which_nothing_was_read_may_be_made_anew(site: Site) -> None:
    read(site, 40)
    visit = site.source("cx.visit")
    delete(site, visit)
    create(site, {visit: {}})
    assert cxkpi(site, "check", "--state").exit_code == 0
    worker = site.worker()
    worker.until(lambda: worker.ready() and accepted(worker) == 40, "gone on")
    # From the first record that is read on, the topic is this one.
    site.send(*[("cx.visit", str(n).encode(), b"") for n in range(20)])
    worker.until(lambda: len(site.dead_letters()) == len(GARBAGE) + 20, "read visits")
    end(site, worker)
    delete(site, visit)
    create(site, {visit: {}})
    assert told_beforehand(site, f"topic {visit} was made anew since it was read") == [True] * 4


@pytest.mark.parametrize("how", ["reset", "rebuild"])
def test_a_source_that_is_gone_and_was_given_up_is_made_anew(site: Site, how: str) -> None:
    read(site, 40)
    delete(site, site.source("cx.survey"))
    assert cxkpi(site, "state", how, "--yes").exit_code == 0
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(100, 5))
    worker.until(lambda: accepted(worker) == 5, "counted what is new")


def test_a_source_that_a_later_version_brings_is_made(site: Site) -> None:
    """It was never read, though there is a state."""
    read(site, 40)
    delete(site, site.source("cx.signal"))
    site.worker().until_ready()


@pytest.mark.parametrize("how", ["reset", "rebuild"])
def test_what_comes_to_a_source_that_was_made_anew_gets_its_dead_letters(
    site: Site, how: str
) -> None:
    read(site, 60)
    source = site.source("cx.survey")
    delete(site, source)
    create(site, {source: {}})
    assert cxkpi(site, "state", how, "--yes").exit_code == 0
    worker = site.worker()
    worker.until_ready()
    site.send(*GARBAGE)
    worker.until(lambda: len(site.dead_letters()) == 2 * len(GARBAGE), "buried what is new")


def test_all_topics_named_after_the_group_are_internal() -> None:
    names = Names("", "group")
    properties = [n for n, p in vars(Names).items() if isinstance(p, property)]
    own = {name for name in (getattr(names, n) for n in properties) if isinstance(name, str)}
    assert own < set(names.all)
    assert {name for name in own if name.startswith("group-")} == set(names.internal)


def test_what_can_t_be_asked_is_one_line(sites: Sites) -> None:
    site = sites("127.0.0.1:1")
    for words in (["show"], ["reset", "--yes"], ["rebuild", "--yes"]):
        result = cxkpi(site, "state", *words)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "no Kafka broker answers at 127.0.0.1:1" in result.stderr
    assert cxkpi(site, "check", "--state").exit_code == 2
    assert cxkpi(site, "check").exit_code == 0
