"""Chunks that wait for others of their topic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.inbox import BATCH_BYTES, BATCH_RECORDS, Inbox, _size
from stream.kafka.transport import Chunk

_TOPICS = ("cx.visit", "cx.cart")


def chunk(topic: str, start: int, records: int, size: int = 0, where: str = "value") -> Chunk:
    """A chunk of records whose positions have holes, as transactions leave them."""
    large = b"x" * size or None
    parts: dict[str, Any] = {"value": None, "key": None, "headers": ()}
    parts |= {where: (("h", large),) if where == "headers" else large}
    found: list[Any] = [SimpleNamespace(offset=start + 2 * i, **parts) for i in range(records)]
    return Chunk(topic, 3, 7, start, start + 2 * records, found)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_TOPICS),
            st.integers(0, BATCH_RECORDS + 20) | st.integers(0, 40),
            st.sampled_from([0, 10, BATCH_BYTES // 3, BATCH_BYTES]),
            st.sampled_from(["value", "key", "headers"]),
        ).filter(lambda drawn: drawn[1] * drawn[2] < 8 * BATCH_BYTES),
        max_size=30,
    )
)
def test_every_record_is_given_back_once_in_its_order_and_little_waits(
    arriving: list[tuple[str, int, int, str]],
) -> None:
    inbox, ends = Inbox(), dict.fromkeys(_TOPICS, 0)
    arrived: dict[str, list[int]] = {topic: [] for topic in _TOPICS}
    given_back: dict[str, list[Chunk]] = {topic: [] for topic in _TOPICS}
    for topic, records, size, where in arriving:
        new = chunk(topic, ends[topic], records, size, where)
        ends[topic] = new.end
        arrived[topic] += [record.offset for record in new.records]
        ready = inbox.add(topic, new)
        if ready is not None:
            enough = sum(map(_size, ready.records)) >= BATCH_BYTES
            assert enough or len(ready.records) >= BATCH_RECORDS
            given_back[topic].append(ready)
    for topic, waiting in inbox.take():
        assert len(waiting.records) < BATCH_RECORDS
        assert sum(map(_size, waiting.records)) < BATCH_BYTES
        given_back[topic].append(waiting)
    assert inbox.take() == []
    for topic, chunks in given_back.items():
        assert [r.offset for c in chunks for r in c.records] == arrived[topic]
        edges = [0, *(c.end for c in chunks)]
        assert [c.start for c in chunks] == edges[:-1]
        assert edges[-1] == ends[topic]
        assert {(c.topic, c.partition, c.epoch) for c in chunks} <= {(topic, 3, 7)}


def test_a_chunk_that_is_large_enough_does_not_wait() -> None:
    large = chunk("cx.visit", 0, BATCH_RECORDS)
    assert Inbox().add("cx.visit", large) is large


def test_records_with_many_empty_headers_do_not_wait() -> None:
    new = chunk("cx.visit", 0, 1)
    new.records[0].headers = (("", None),) * 5_000
    assert Inbox().add("cx.visit", new) is new


def test_what_was_taken_makes_no_later_chunk_enough_for_a_batch() -> None:
    inbox = Inbox()
    for start in (0, 2, 4):
        assert inbox.add("cx.visit", chunk("cx.visit", start, 1, BATCH_BYTES // 2)) is None
        assert len(inbox.take()) == 1
    # Nor does what has become a batch.
    for start, is_enough in ((6, False), (8, True), (10, False), (12, True)):
        ready = inbox.add("cx.visit", chunk("cx.visit", start, 1, BATCH_BYTES // 2))
        assert (ready is not None) is is_enough
