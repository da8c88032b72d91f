"""Dead letters are sent again to where they came from, in their order, and never twice."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerFenced

from stream.core.shard import Refusal
from stream.core.timestamps import format_ms
from stream.deadletters.headers import GROUP
from stream.deadletters.letter import REDRIVEN, letter
from stream.deadletters.redrive import size
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.letters import LetterReader
from stream.kafka.log import TransactionalWriter
from tests.deadletters.burying import (
    PARTITIONS,
    Buried,
    bury,
    dlq,
    ledger_ranges,
    process,
    redriven,
    sent,
)
from tests.deadletters.letters import visit
from tests.kafka.conftest import Site
from tests.kafka.topics import Read, administer
from tests.kafka.truth import outcomes

INVALID = Refusal(0, "invalid", "pages", "is wrong")


def visits(count: int, first: int = 0) -> list[Buried]:
    """Letters that would be accepted today, of 40 keys, each always on the same partition."""
    return [
        (i % 40 % PARTITIONS, b"key-%d" % (i % 40), visit(i)) for i in range(first, first + count)
    ]


def assert_each_once_and_in_order(found: Sequence[Read], wanted: Sequence[Buried]) -> None:
    assert sorted(r.value or b"" for r in found) == sorted(value or b"" for _, _, value in wanted)
    for number in range(PARTITIONS):
        of_partition = [(r.key, r.value) for r in found if r.partition == number]
        assert of_partition == [(key, value) for p, key, value in wanted if p == number]


def test_what_the_worker_refused_as_too_early_counts_once_when_its_time_has_come(
    site: Site,
) -> None:
    worker = site.worker()
    worker.until_ready()
    due = time.time_ns() // 10**6 + 30_000
    early = [
        (b"k%d" % (i % 5), visit(i, occurred_at=format_ms(due + 60_000 - i))) for i in range(40)
    ]
    site.send(*(("cx.visit", key, value) for key, value in early))
    site.send(("cx.visit", b"bad", visit(99, pages="three")))
    refused = {("cx.visit", "future"): 40, ("cx.visit", "invalid"): 1}
    worker.until(lambda: outcomes(worker.scrape()) == refused, "refused all of them")
    worker.until(lambda: len(site.dead_letters()) == 41, "written the dead letters")
    if time.time_ns() // 10**6 < due - 15_000:
        again = redriven(site, "--yes", expected=1)
        assert (again["records"], again["left"]["refused"]) == (0, 41)
    time.sleep(max(0.0, due / 1000 - time.time() + 0.1))
    before = len(sent(site))
    dry = redriven(site, "--outcome", "future")
    assert (dry["executed"], dry["records"], len(sent(site))) == (False, 40, before)
    done = redriven(site, "--yes", expected=1)
    assert (done["executed"], done["records"], done["to"]) == (True, 40, dry["to"])
    assert done["left"]["refused"] == 1
    expected = {**refused, ("cx.visit", "accepted"): 40}
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted every record once")
    copies = [r for r in sent(site) if r.headers]
    originals = [r for r in sent(site) if not r.headers and r.key != b"bad"]
    assert [(r.partition, r.key, r.value) for r in copies] == [
        (r.partition, r.key, r.value) for r in originals
    ]
    assert all(r.headers == ((REDRIVEN, b"1"),) for r in copies)
    assert redriven(site, "--yes", expected=1)["records"] == 0
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted none of them again")


def test_a_record_that_is_refused_again_is_not_sent_for_ever(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    site.send(("cx.visit", b"bad", visit(1, pages="three")))
    for rounds in range(4):
        worker.until(
            lambda n=rounds: len(site.dead_letters()) == n + 1,  # type: ignore[misc]
            "written the dead letter",
        )
        last = max(site.dead_letters(), key=lambda r: r.offset)
        assert last.reasons[GROUP] == site.group
        assert last.reasons.get(REDRIVEN) == (str(rounds) if rounds else None)
        if rounds < 3:
            assert redriven(site, "--yes", "--even-if-refused")["records"] == 1
    summary = redriven(site, "--yes", "--even-if-refused", expected=1)
    assert (summary["records"], summary["left"]["rounds"]) == (0, 1)
    assert "3x" in dlq(site, "list").stdout
    assert redriven(site, "--even-if-refused", "--rounds", "4")["records"] == 1


def test_filters_leave_holes_and_a_later_run_sends_the_rest(site: Site) -> None:
    first, second = visits(120), visits(120, 120)
    for start in range(0, 120, 40):
        bury(site, first[start : start + 40], size=10)
        bury(site, second[start : start + 40], size=10, refusal=INVALID)
    assert redriven(site, "--yes", "--outcome", "invalid")["records"] == 120
    assert_each_once_and_in_order(sent(site), second)
    assert redriven(site, "--yes", "--limit", "50", expected=1)["records"] == 50
    assert redriven(site, "--reason", "pages")["left"]["sent_before"] == 120
    rest = redriven(site, "--yes")
    assert (rest["records"], rest["left"]["sent_before"]) == (70, 170)
    found = sent(site)
    assert_each_once_and_in_order([r for r in found if r.value in {v for *_, v in first}], first)
    assert len(found) == 240
    # All are sent, so what lies between them, markers of transactions, is no hole.
    assert ledger_ranges(site) == PARTITIONS


@pytest.mark.parametrize("more", [[], ["--yes"]])
def test_what_a_limit_leaves_unsent_is_a_finding_and_what_it_just_reaches_is_none(
    site: Site, more: list[str]
) -> None:
    bury(site, visits(10))
    some = redriven(site, *more, "--limit", 4, expected=1)
    assert (some["records"], some["complete"]) == (4, False)
    rest = redriven(site, *more, "--limit", 6 if more else 10)
    assert (rest["records"], rest["complete"]) == (6 if more else 10, True)


def test_key_value_and_headers_are_those_of_the_original(site: Site) -> None:
    own = (("trace", b"\xff\x00"), ("empty", None), ("trace", b"2"))
    odd: list[Buried] = [
        (3, None, b"no key"),
        (2, b"\xff", b"\xfe"),
        (1, b"no value", None),
        (1, None, None),
        (0, b"", b""),
    ]
    bury(site, odd, own=own)
    assert redriven(site, "--yes", "--even-if-refused")["records"] == len(odd)
    found = sent(site)
    assert sorted((r.partition, repr(r.key), repr(r.value)) for r in found) == sorted(
        (p, repr(k), repr(v)) for p, k, v in odd
    )
    assert all(r.headers == (*own, (REDRIVEN, b"1")) for r in found)


def test_the_largest_record_that_is_not_left_is_taken_by_the_broker(site: Site) -> None:
    limit = 100_000

    async def create(admin: AIOKafkaAdminClient) -> None:
        config = {"max.message.bytes": str(limit)}
        await admin.create_topics([NewTopic(site.source("cx.visit"), 4, 1, topic_configs=config)])

    administer(site.bootstrap, create)
    room = limit - size(letter("cx.visit", 0, 0, 0, b"k", b"", ()))
    fits = visit(1, note="")
    fits = visit(1, note="x" * (room - len(fits)))
    # One at a time: the limit of a topic is that of a batch of records.
    bury(site, [(0, b"k", fits), (0, b"k", visit(2, note="x" * room)), (0, b"k", visit(3))], size=1)
    summary = redriven(site, "--yes", expected=1)
    assert (summary["records"], summary["left"]["too_large"]) == (2, 1)
    assert [r.value for r in sent(site)] == [fits, visit(3)]


def test_letters_of_a_transaction_that_was_aborted_are_none(site: Site) -> None:
    bury(site, visits(8))
    dead = site.source("cx.visit") + ".dlq"

    async def abort() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=site.bootstrap, transactional_id=f"{site.group}-aborted"
        )
        await producer.start()
        await producer.begin_transaction()
        for number in range(PARTITIONS):
            await producer.send_and_wait(dead, visit(99), key=b"k", partition=number)
        await producer.abort_transaction()
        await producer.stop()

    asyncio.run(abort())
    bury(site, visits(8, 8))
    assert redriven(site, "--yes")["records"] == 16
    assert_each_once_and_in_order(sent(site), visits(16))
    assert dlq(site, "list").stderr == "16 dead letters\n"
    assert ledger_ranges(site) == PARTITIONS


def test_a_record_that_was_left_out_of_its_letter_is_never_sent_but_named(site: Site) -> None:
    said = "3000000 bytes, more than the topic takes unpacked"
    bury(site, [(2, b"k", visit(number)) for number in range(7)], left_out=said)
    bury(site, [(2, b"k", visit(8))])
    for options in ([], ["--even-if-refused"]):
        dry = dlq(site, "redrive", *options)
        assert dry.exit_code == 1
        assert dry.stderr.splitlines() == [
            "7 records left, cx.visit: which their letters do not hold",
            *(f"  cx.visit/2/{n} lies in cx.visit, partition 2, offset {n}" for n in range(5)),
            "  and 2 more, which `cxkpi dlq show` tells of",
            "dry run: nothing was sent; --yes sends 1 record",
        ]
    done = redriven(site, "--yes", "--even-if-refused", expected=1)
    assert (done["records"], done["left"]["left_out"]) == (1, 7)
    assert [r.value for r in sent(site)] == [visit(8)]


# Ends at any moment ----------------------------------------------------------------------------


@pytest.mark.parametrize("committed", [False, True])
def test_a_transaction_whose_outcome_is_unknown_is_neither_lost_nor_repeated(
    site: Site, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    letters = visits(1_200)
    bury(site, letters)
    commit = AIOKafkaProducer.commit_transaction
    calls = 0

    async def failing(self: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2 and committed:
            await commit(self)
        if calls == 2:
            raise KafkaError("the connection broke")
        await commit(self)

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", failing)
    result = dlq(site, "redrive", "--yes")
    assert result.exit_code == 2
    assert "stopped after 500 records" in result.stderr
    assert "run it again" in result.stderr
    assert "Traceback" not in result.output
    monkeypatch.undo()
    rest = redriven(site, "--yes")
    assert rest["records"] == (200 if committed else 700)
    assert_each_once_and_in_order(sent(site), letters)
    assert redriven(site, "--yes")["records"] == 0


def test_what_was_sent_is_told_though_letters_can_t_be_read_any_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(site, visits(20))
    read = LetterReader._read

    async def silent(self: LetterReader, *args: Any) -> AsyncIterator[Any]:
        async for passed, letters in read(self, *args):
            yield passed, letters
            raise BrokerUnreachable("no answer")

    with monkeypatch.context() as around:
        around.setattr(LetterReader, "_read", silent)
        # So slow, it sends five at once.
        result = dlq(site, "redrive", "--yes", "--rate", "50", "--json")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "Error: no answer")
    told = json.loads(result.stdout)
    rest = redriven(site, "--yes")["records"]
    assert told["records"] + rest == 20
    assert told["records"] > 0
    assert not told["complete"]


@pytest.mark.parametrize(
    ("timeout", "seconds", "said"),
    [
        (
            "60s",
            0,
            "another redrive of this group has taken over, or the broker has ended the transaction",
        ),
        (
            "1s",
            1.3,
            "the transaction took N s, the broker ends one after kafka.transaction_timeout (1s)",
        ),
    ],
)
def test_a_fence_is_no_other_redrive_where_the_broker_has_lost_its_patience(
    site: Site, monkeypatch: pytest.MonkeyPatch, timeout: str, seconds: float, said: str
) -> None:
    bury(site, visits(10))
    commit = AIOKafkaProducer.commit_transaction

    async def fenced(self: Any) -> None:
        await asyncio.sleep(seconds)
        raise ProducerFenced

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", fenced)
    # Those that are to succeed have more time.
    limited = {"CXKPI_KAFKA__TRANSACTION_TIMEOUT": timeout, "CXKPI_KAFKA__FLUSH": "250ms"}
    with monkeypatch.context() as around:
        for name, value in limited.items():
            around.setenv(name, value)
        result = dlq(site, "redrive", "--yes")
    assert result.exit_code == 2
    rest = "run it again for the rest, no record is sent twice"
    last = re.sub(r"took \d+ s", "took N s", result.stderr.splitlines()[-1])
    assert last == f"Error: stopped after 0 records: {said}; {rest}"
    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", commit)
    assert redriven(site, "--yes")["records"] == 10


#: Kills the process with SIGKILL in its second transaction.
DEADLY = """
import os, signal
from aiokafka import AIOKafkaProducer
commit, calls = AIOKafkaProducer.commit_transaction, []
async def deadly(self):
    calls.append(1)
    if len(calls) == 2 and {after}:
        await commit(self)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    await commit(self)
AIOKafkaProducer.commit_transaction = deadly
"""


@pytest.mark.parametrize("after", [False, True])
def test_a_process_killed_around_its_commit_leaves_the_rest_to_the_next(
    site: Site, after: bool
) -> None:
    letters = visits(1_200)
    bury(site, letters)
    killed = process(site, "redrive", "--yes", prelude=DEADLY.format(after=after))
    killed.communicate(timeout=180)
    assert killed.returncode == -signal.SIGKILL
    assert redriven(site, "--yes")["records"] == (200 if after else 700)
    assert_each_once_and_in_order(sent(site), letters)


def test_processes_killed_at_random_moments_send_each_letter_once(site: Site) -> None:
    letters = visits(1_500)
    bury(site, letters, size=300)
    draw = random.Random(7)
    kills = 0
    while len(sent(site)) < len(letters) and kills < 6:
        # So slowly that looking takes as long as sending them all on no machine.
        run = process(site, "redrive", "--yes", "--rate", "50")
        deadline = time.monotonic() + 180
        began = len(sent(site))
        while len(sent(site)) == began and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(draw.random() * 0.5)
        run.kill()
        run.communicate()
        kills += 1
    assert kills >= 3
    redriven(site, "--yes")
    assert_each_once_and_in_order(sent(site), letters)


def test_of_two_at_once_the_later_takes_over_and_the_earlier_says_so(site: Site) -> None:
    letters = visits(2_000)
    bury(site, letters, size=500)
    earlier = process(site, "redrive", "--yes", "--rate", "50")
    deadline = time.monotonic() + 180
    while not sent(site) and time.monotonic() < deadline:
        time.sleep(0.05)
    later = redriven(site, "--yes")
    out, errors = earlier.communicate(timeout=180)
    assert earlier.returncode == 2, out + errors
    assert "another redrive of this group has taken over" in errors, errors
    assert "Traceback" not in errors, errors
    assert 0 < later["records"] < 2_000
    assert_each_once_and_in_order(sent(site), letters)


def test_what_another_run_sent_up_to_the_fence_is_not_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = visits(400)
    bury(site, letters)
    start = TransactionalWriter.start

    async def late_start(self: TransactionalWriter) -> None:
        run = process(site, "redrive", "--yes", "--limit", "300")
        out, errors = await asyncio.to_thread(run.communicate, timeout=180)
        assert run.returncode == 1, out + errors
        await start(self)

    monkeypatch.setattr(TransactionalWriter, "start", late_start)
    summary = redriven(site, "--yes")
    assert (summary["records"], summary["left"]["sent_before"]) == (100, 300)
    assert_each_once_and_in_order(sent(site), letters)


def test_a_signal_ends_it_with_what_was_sent_committed(site: Site) -> None:
    letters = visits(500)
    bury(site, letters)
    run = process(site, "redrive", "--yes", "--rate", "20", "--json")
    deadline = time.monotonic() + 180
    while not sent(site) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=180)
    assert run.returncode == 130, errors
    assert f'"records": {len(sent(site))}' in out
    assert '"complete": false' in out
    redriven(site, "--yes")
    assert_each_once_and_in_order(sent(site), letters)


# Topics that are others ------------------------------------------------------------------------


def test_a_dead_letter_topic_that_was_made_anew_is_not_taken_for_the_former(site: Site) -> None:
    bury(site, visits(40))
    redriven(site, "--yes")

    async def delete(admin: AIOKafkaAdminClient) -> None:
        await admin.delete_topics([site.source("cx.visit") + ".dlq"])
        await asyncio.sleep(1)

    administer(site.bootstrap, delete)
    bury(site, visits(60, 40))
    result = dlq(site, "redrive", "--yes")
    assert result.exit_code == 2
    assert "was made anew" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "sent" not in dlq(site, "list").stdout
    assert redriven(site, "--yes", "--anew")["records"] == 60
    assert redriven(site, "--yes")["records"] == 0
    assert_each_once_and_in_order(sent(site), visits(100))


def test_a_damaged_ledger_stops_it(site: Site) -> None:
    bury(site, visits(4))
    redriven(site, "--yes")

    async def damage() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap)
        await producer.start()
        await producer.send_and_wait(f"{site.group}-redrive", b"nonsense", key=b"x/0/0")
        await producer.stop()

    asyncio.run(damage())
    for command in (("redrive", "--yes"), ("redrive",), ("list",)):
        result = dlq(site, *command)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert "can't be used: a record is damaged" in result.stderr
