"""Bad records through the real broker: each has its outcome, none holds up the good ones."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from stream.core.timestamps import format_ms
from stream.kafka.codecs import MOST_UNPACKED
from tests.kafka.batches import Sent, batch_of
from tests.kafka.conftest import Site
from tests.kafka.topics import administer, append
from tests.kafka.truth import outcomes
from tests.kafka.workers import resident_mb

_TWO_MEGABYTES = 2 * 1024 * 1024


def visit(number: int, **more: object) -> bytes:
    """A good event of this moment."""
    event = {"event_id": f"good-{number}", "type": "visit.ended", "visit_id": f"v{number}"}
    return orjson.dumps({**event, "occurred_at": format_ms(time.time_ns() // 10**6), **more})


BAD: dict[bytes, tuple[str, str]] = {
    b"not JSON": ("$", "is not JSON"),
    b"\xff\xfe": ("$", "is not"),
    visit(1, pages="three"): ("pages", "expected a number"),
    visit(2, type="visit.began"): ("type", "is no event type"),
    visit(3, type="survey.responded", response_id="r", survey="nps", score=9): (
        "type",
        "belongs to topic cx.survey",
    ),
    visit(4)[:-1] + b',"pages":NaN}': ("$", "is not JSON"),
    visit(5, pages=0): ("pages", ">= 1"),
    b"x" * _TWO_MEGABYTES: ("$", "is not JSON"),
    b'{"deep":' * 20_000 + b"1" + b"}" * 20_000: (
        "$",
        "has more than 500 objects and lists within one another",
    ),
}


def test_each_bad_record_lies_in_the_dead_letters_as_it_was_with_the_reason(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    sent = {value: f"key-{i}".encode() for i, value in enumerate(BAD)}
    large = visit(100, note="y" * _TWO_MEGABYTES)
    site.send(
        ("cx.visit", b"a", visit(101)),
        *(("cx.visit", key, value) for value, key in sent.items()),
        ("cx.visit", b"b", large),
        ("cx.visit", b"c", visit(102)),
        (
            "cx.survey",
            b"r",
            visit(6, type="survey.responded", response_id="r", survey="nps", score=99),
        ),
    )
    expected = {
        ("cx.visit", "accepted"): 3,
        ("cx.visit", "invalid"): len(BAD),
        ("cx.survey", "invalid"): 1,
    }
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted every record")
    worker.until(lambda: len(site.dead_letters()) >= len(BAD) + 1, "written the dead letters")
    letters = {r.value: r for r in site.dead_letters()}
    assert len(letters) == len(BAD) + 1
    for value, (path, reason) in BAD.items():
        letter = letters[value]
        said = letter.reasons
        assert letter.key == sent[value]
        assert said["cxkpi.outcome"] == "invalid"
        assert said["cxkpi.field"] == path
        assert reason in said["cxkpi.reason"]
        assert said["__connect.errors.topic"] == site.source("cx.visit")
        assert int(said["__connect.errors.partition"]) == letter.partition
    (low,) = [r for r in letters.values() if r.topic.endswith("cx.survey.dlq")]
    assert low.reasons["cxkpi.field"] == "score"


def test_ten_thousand_bad_records_among_good_ones_all_come_out_apart(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    messages = [
        ("cx.visit", f"k{i}".encode(), visit(i) if i % 11 == 0 else b"garbage %d" % i)
        for i in range(11_000)
    ]
    bad = Counter(value for _, _, value in messages if value.startswith(b"garbage"))
    assert bad.total() == 10_000
    site.send(*messages)
    expected = {("cx.visit", "accepted"): 1_000, ("cx.visit", "invalid"): 10_000}
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted every record")
    worker.until(lambda: len(site.dead_letters()) >= 10_000, "written the dead letters")
    assert Counter(r.value for r in site.dead_letters()) == bad


async def _send_compressed(site: Site, topic: str, value: bytes, codec: str = "gzip") -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=site.bootstrap,
        compression_type=codec,
        max_request_size=2 * len(value),
    )
    await producer.start()
    await producer.send_and_wait(site.source(topic), value, partition=1)
    await producer.stop()


def test_dead_letters_fit_into_a_topic_of_small_records_however_they_were_sent(site: Site) -> None:
    limited = NewTopic(site.source("cx.visit"), 4, 1, topic_configs={"max.message.bytes": "60000"})
    administer(site.bootstrap, lambda admin: admin.create_topics([limited]))
    worker = site.worker()
    worker.until_ready()
    small = [b"no JSON " + b"%d" % n + b"x" * 30_000 for n in range(60)]
    # What compresses well may be far larger than what the topic takes.
    large = b"no JSON" + b"y" * _TWO_MEGABYTES
    site.send(*(("cx.visit", b"key", value) for value in small))
    asyncio.run(_send_compressed(site, "cx.visit", large))
    site.send(("cx.visit", b"a", visit(201)))
    worker.until(
        lambda: (
            outcomes(worker.scrape())
            == {("cx.visit", "accepted"): 1, ("cx.visit", "invalid"): len(small) + 1}
        ),
        "counted every record",
    )
    worker.until(lambda: len(site.dead_letters()) > len(small), "written the dead letters")
    letters = site.dead_letters()
    assert sorted(r.value for r in letters if r.value) == sorted(small)
    (left_out,) = [r for r in letters if r.value is None]
    assert "more than the topic takes" in left_out.reasons["cxkpi.left_out"]
    assert left_out.reasons["cxkpi.reason"].startswith("is not JSON")
    assert left_out.reasons["__connect.errors.offset"]


def test_what_a_header_is_called_changes_nothing_of_its_record(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    strange = [(b"n\xe4me", b"x"), (b"trace", b"\xe4")]
    sent: list[Sent] = [(b"a", visit(501), strange), (b"b", b"no JSON", strange)]
    append(site.bootstrap, site.source("cx.visit"), batch_of(sent))
    site.send(("cx.visit", b"c", visit(502)))
    expected = {("cx.visit", "accepted"): 2, ("cx.visit", "invalid"): 1}
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted every record")
    worker.until(lambda: len(site.dead_letters()) == 1, "written the dead letter")
    (letter,) = site.dead_letters()
    assert (letter.key, letter.value) == (b"b", b"no JSON")
    assert letter.headers[:2] == (("n\\xe4me", b"x"), ("trace", b"\xe4"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_batch_that_unpacks_to_more_than_is_read_takes_no_memory_and_stops_nothing(
    site: Site,
) -> None:
    worker = site.worker()
    worker.until_ready()
    resting = resident_mb(worker, "VmRSS")
    large = visit(400, note="y" * (2 * MOST_UNPACKED))
    asyncio.run(_send_compressed(site, "cx.visit", large, "zstd"))
    site.send(("cx.visit", b"a", visit(401)))
    expected = {("cx.visit", "accepted"): 1, ("cx.visit", "invalid"): 1}
    worker.until(lambda: outcomes(worker.scrape()) == expected, "counted every record")
    worker.until(lambda: len(site.dead_letters()) == 1, "written the dead letter")
    (letter,) = site.dead_letters()
    assert letter.value is None
    assert "unpacks to more than 64 MiB" in letter.reasons["cxkpi.reason"]
    # Unpacked it is 128 MiB, and as many again as a value.
    assert resident_mb(worker) < resting + 100


def test_records_count_whatever_they_were_compressed_with(site: Site) -> None:
    codecs = ("gzip", "lz4", "snappy", "zstd")
    worker = site.worker()
    worker.until_ready()
    for number, codec in enumerate(codecs):
        asyncio.run(_send_compressed(site, "cx.visit", visit(300 + number), codec))
    worker.until(
        lambda: outcomes(worker.scrape()) == {("cx.visit", "accepted"): len(codecs)},
        "counted every record",
    )
