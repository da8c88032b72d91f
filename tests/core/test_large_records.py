"""What a record costs follows from its bytes, whatever is in them, and those are bounded."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from stream.core.decode import MOST_BYTES, Decoder
from stream.core.event import Invalid
from stream.core.settings import HOUR, MINUTE, Settings, Window
from stream.core.shard import Shard
from stream.core.values import Values
from tests.strategies import NOW

VISIT = b'"type":"visit.ended","visit_id":"v","event_id":"%d","occurred_at":"2026-03-02T10:00:00Z"'
ANSWER = (
    b'"type":"survey.responded","response_id":"r","survey":"emotion","event_id":"%d",'
    b'"occurred_at":"2026-03-02T10:00:00Z"'
)
SIZE = 1_000_000


def padded(size: int) -> bytes:
    """A good visit of so many bytes."""
    record = b"{" + VISIT % 1 + b',"x":"%b"}'
    return record % (b"x" * (size - len(record) + 2))


def filled(unit: bytes) -> bytes:
    """As many of these as a record of that size has room for; ``%d`` is their number."""
    numbered = b"%d" in unit
    count = SIZE // (len(unit) + 1 + 4 * numbered)
    return b",".join(unit % i if numbered else unit for i in range(count))


#: What has been slow to read: the topic's event, and what else is in it.
SHAPES: dict[str, bytes] = {
    "halves": VISIT % 1 + b',"x":"' + rb"\ud800" * (SIZE // 6) + b'"',
    "halves apart": VISIT % 1 + b',"x":"' + rb"\ud800x" * (SIZE // 7) + b'"',
    "halves and backslashes": VISIT % 1 + b',"x":"' + rb"\ud800\\" * (SIZE // 8) + b'"',
    "texts of halves": VISIT % 1 + b',"x":[' + filled(rb'"\ud800"') + b"]",
    "many labels": VISIT % 1 + b',"labels":{' + filled(b'"k%d":"v"') + b"}",
    "many labels that are none": VISIT % 1 + b',"labels":{' + filled(b'"k%d":1') + b"}",
    "lists for a label": VISIT % 1 + b',"labels":{"a":[' + filled(b"[]") + b"]}",
    "lists for labels": VISIT % 1 + b',"labels":[' + filled(b"[" * 400 + b"]" * 400) + b"]",
    "lists for a type": b'"type":[' + filled(b"[]") + b"]",
    "digits for a type": b'"type":' + b"1" * SIZE,
    "digits for a number": VISIT % 1 + b',"pages":' + b"1" * SIZE,
    "objects without end": b'"x":' + b'{"":' * (SIZE // 4),
    "texts of brackets": VISIT % 1 + b',"x":[' + filled(b'"["') + b"]",
    "many emotions": ANSWER % 1 + b',"emotions":{' + filled(b'"k%d":1') + b"}",
    "a long fraction": VISIT % 1 + b',"occurred_at":"2026-03-02T10:00:00.' + b"0" * SIZE + b'"',
}


def shard() -> Shard:
    settings = Settings(windows=(Window("1h", HOUR, MINUTE),))
    return Shard(settings, Values(settings))


def seconds(values: list[bytes], topic: str) -> float:
    """How long it takes to take them in, the best of three."""
    times = []
    for _ in range(3):
        taker = shard()
        begun = time.process_time()
        taker.ingest(topic, values, NOW)
        times.append(time.process_time() - begun)
    return min(times)


@pytest.fixture(scope="module")
def usual() -> float:
    """How long as many bytes take of events as they are sent."""
    record = b"{" + VISIT + b',"customer_id":"c","labels":{"channel":"web","region":"eu"}}'
    return seconds([record % i for i in range(SIZE // len(record))], "cx.visit")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_large_record_takes_not_many_times_as_long_as_events_of_its_size(
    shape: str, usual: float
) -> None:
    topic = "cx.survey" if "survey" in SHAPES[shape][:40].decode() else "cx.visit"
    assert seconds([b"{" + SHAPES[shape] + b"}"], topic) < 8 * usual


@pytest.mark.parametrize("shape", ["many labels", "lists for a label", "lists for a type"])
def test_what_is_refused_takes_little_memory(shape: str) -> None:
    decoder, record = Decoder("cx.visit"), b"{" + SHAPES[shape] + b"}"
    tracemalloc.start()
    (event,) = decoder.decode([record]).events
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(event, Invalid)
    assert most < 12 * len(record)


@pytest.mark.parametrize("around", [[], [b"{", None, padded(300)]])
def test_a_record_is_read_up_to_the_bound_and_not_beyond_it(around: list[bytes | None]) -> None:
    decoder = Decoder("cx.visit")
    fits, larger = padded(MOST_BYTES), padded(MOST_BYTES + 1)
    alone = decoder.decode(around).events
    events, at, labels, groups = decoder.decode([*around, fits, larger, *around])
    assert events[: len(around)] == alone == events[len(around) + 2 :]
    assert not isinstance(events[len(around)], Invalid)
    assert events[len(around) + 1] == Invalid("$", "has more than 4194304 bytes")
    assert at[len(around) + 1] == 0
    assert len(labels) == len(events)
    places = [place for group in groups for place in group.places.tolist()]
    assert places == [i for i, event in enumerate(events) if not isinstance(event, Invalid)]


@pytest.mark.parametrize("make", [lambda n: b"[" * n, lambda n: b"\xff" * n, lambda n: b" " * n])
def test_a_record_beyond_the_bound_says_so_whatever_it_is(make: Callable[[int], bytes]) -> None:
    (event,) = Decoder(None).decode([make(MOST_BYTES + 1)]).events
    assert event == Invalid("$", "has more than 4194304 bytes")
