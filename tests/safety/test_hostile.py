"""Whatever a producer sends, each record has one outcome and the others are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS, TOPICS
from stream.core.event import OUTCOMES
from stream.core.series import Evaluation
from stream.core.settings import DAY, HOUR, MINUTE, Settings, Window
from stream.core.shard import Refusal, Shard
from stream.kafka.shards import dead_letter_headers
from stream.kafka.transport import Chunk
from stream.metrics.exposition import Exposition, parse
from stream.metrics.view import WorkerView
from tests.safety.shards import Log, evaluation, event, new_shard, outcomes, recovered
from tests.strategies import NOW, any_event, broken_events, events, json_values

#: Few windows and rollups, since it is the records that matter here.
SETTINGS = Settings(
    windows=(Window("1h", HOUR, MINUTE), Window("7d", 7 * DAY, HOUR)),
    rollups=((), ("channel",)),
)
AT = "2026-03-02T10:00:00Z"

#: Texts that have broken something somewhere.
TEXTS = {
    "newline": "a\nb",
    "quotes": "\"a\" 'b' `c`",
    "backslash": "a\\",
    "braces": '{a="b"} 1\n# HELP x',
    "NUL": "a\0b",
    "control": "\x01\x1b[31m\x7f\x85",
    "carriage return": "a\r\nb",
    "right to left": "\u202eabc\u2066",
    "byte order mark": "\ufeffa",
    "separators": "a\u2028b\u2029c",
    "combining": "a" + "\u0301" * 63,
    "64 astral": "😀" * 64,
    "noncharacter": "\uffff\U0010ffff",
    "blank": " ",
    "percent": "%s{0}${HOME}",
    "path": "../../etc/passwd",
    "null word": "null",
    "other": "other",
    "digits": "１２３",
}


def documents() -> st.SearchStrategy[bytes]:
    """Events that are good, broken, or only nearly JSON."""
    good = any_event().map(orjson.dumps)
    kinds = st.sampled_from(sorted(t.name for topic in TOPICS.values() for t in topic.types))
    broken = kinds.flatmap(broken_events).map(lambda found: dumped(found[0]))
    return st.one_of(
        st.binary(max_size=200),
        json_values.map(orjson.dumps),
        good,
        broken,
        good.flatmap(mutated),
    )


def dumped(value: Any) -> bytes:
    """As JSON, whatever size numbers have."""
    import json

    return json.dumps(value).encode()


@st.composite
def mutated(draw: st.DrawFn, value: bytes) -> bytes:
    """The bytes with a piece cut out, doubled, or replaced by others."""
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + 20)))
    piece = draw(
        st.binary(max_size=5)
        | st.sampled_from([b"", value[start:end] * 2, b"\0", b"null", b"1e400", b"-0", b"\xff"])
        | st.sampled_from([b'"\\ud800"', b"[" * 2000, b"{}", b"true", b'"', b"," * 3])
    )
    return value[:start] + piece + value[end:]


def check_outcomes(shard: Shard, records: Sequence[bytes | None], refused: list[Refusal]) -> None:
    """Each record has one outcome, and those that were not accepted say why."""
    found = outcomes(shard)
    assert sum(found.values()) == len(records)
    assert set(found) <= set(OUTCOMES)
    places = [r.place for r in refused]
    assert places == sorted(set(places))
    assert Counter(r.outcome for r in refused) == Counter(
        {o: n for o, n in found.items() if o != "accepted"}
    )
    for refusal in refused:
        assert refusal.path
        assert refusal.reason
        chunk = Chunk("cx.visit", 0, 1, 0, 1, [])
        for _, value in dead_letter_headers(chunk, 0, refusal, "g"):
            assert len(value) < 2000


def check_alive(shard: Shard, at: int, log: Log | None = None) -> None:
    """All that follows from the records can be shown and written, and is read back the same."""
    exposed(shard, at)
    log = log or Log(shard)
    log.flush(at)
    if log.records:
        assert evaluation(recovered(shard.settings, log.records), at) == evaluation(shard, at)


def exposed(shard: Shard, at: int) -> str:
    """The text that Prometheus reads."""
    view = WorkerView(evaluation=Evaluation(at, evaluation(shard, at)), ready=True)
    text = Exposition(KPIS).text(view).decode()
    assert list(parse(text))
    return text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | documents(), max_size=12), st.sampled_from([NOW, 0, NOW + 8 * DAY]))
@example([b"[" * 100_000, b"\xef\xbb\xbf{}", b"\0", b"", None], NOW)
def test_no_bytes_raise_or_lose_an_outcome_by_the_clock(
    records: list[bytes | None], now: int
) -> None:
    for topic in (None, "cx.survey"):
        shard = new_shard(SETTINGS)
        check_outcomes(shard, records, shard.ingest(topic, records, now))
        check_alive(shard, now)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | documents(), max_size=12))
def test_no_bytes_raise_or_lose_an_outcome_by_event_time(records: list[bytes | None]) -> None:
    shard = new_shard(SETTINGS, event_time=True)
    check_outcomes(shard, records, shard.ingest(None, records))
    exposed(shard, max(shard.progress.now, 0))
    shard.settle(shard.progress.now)


@settings(max_examples=40, deadline=None)
@given(st.lists(documents(), max_size=8), st.lists(any_event().map(orjson.dumps), max_size=4))
def test_what_a_bad_record_stands_beside_makes_no_difference(
    bad: list[bytes], good: list[bytes]
) -> None:
    refused = new_shard(SETTINGS, event_time=True)
    only_bad = [v for v in bad if refused.ingest(None, [v])]
    mixed, alone = (new_shard(SETTINGS, event_time=True) for _ in range(2))
    invalid = [v for v in only_bad if new_shard(SETTINGS, event_time=True).ingest(None, [v])]
    mixed.ingest(None, [*invalid, *good, *invalid])
    alone.ingest(None, good)
    at = max(alone.progress.now, 0)
    # An orphan on its own may find its parent among the good ones.
    if outcomes(mixed).get("invalid", 0) == 2 * len(invalid) + outcomes(alone).get("invalid", 0):
        assert evaluation(mixed, at) == evaluation(alone, at)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_label_may_hold_any_text(text: str) -> None:
    value = text[:64]
    shard = new_shard(SETTINGS)
    labels = {"channel": value, value: value, "region": "x"}
    assert (
        shard.ingest("cx.visit", [event("visit.ended", AT, visit_id="a", labels=labels)], NOW) == []
    )
    check_alive(shard, NOW)
    shown = {
        s.labels.get("channel") for s in parse(exposed(shard, NOW)) if s.name.startswith("cx_")
    }
    assert value in shown


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_id_may_hold_any_text_and_is_told_from_others(text: str) -> None:
    shard = new_shard(SETTINGS)
    ids = [text, text + "x", text, "x" + text]
    records = [
        orjson.dumps({"event_id": i, "type": "cart.purchased", "occurred_at": AT, "cart_id": i})
        for i in ids
    ]
    assert [r.place for r in shard.ingest("cx.cart", records, NOW)] == [2]
    check_alive(shard, NOW)


def numbered(pages: str) -> bytes:
    return event("visit.ended", AT, visit_id="a", pages=7).replace(b":7", b":" + pages.encode())


@pytest.mark.parametrize(
    ("number", "pages"),
    [
        ("1E2", 100),
        ("1e0", 1),
        ("1.0", 1),
        ("10e-1", 1),
        ("1000000000000", 1e12),
        ("1" + "0" * 12 + "." + "0" * 400, 1e12),
        ("1e400", None),
        ("-1e400", None),
        ("1e-400", None),
        ("-0", None),
        ("0", None),
        ("007", None),
        ("+1", None),
        ("1.", None),
        (".5", None),
        ("0x10", None),
        ("1_000", None),
        ("NaN", None),
        ("Infinity", None),
        ("9" * 5000, None),
        ("1e999999999999999999999", None),
        ("1000000000001", None),
        ("9007199254740993", None),
        ("5e-324", None),
        ("1.0000000001", None),
        ("true", None),
        ('"1"', None),
    ],
)
def test_a_number_is_read_or_refused_but_never_bent(number: str, pages: float | None) -> None:
    shard = new_shard(SETTINGS)
    refused = shard.ingest("cx.visit", [numbered(number)], NOW)
    if pages is None:
        assert [(r.outcome, r.path) for r in refused] in (
            [[("invalid", "pages")], [("invalid", "$")]]
        )
    else:
        assert refused == []
        found = [s for s in evaluation(shard, NOW) if s.kpi == "pages_per_visit"]
        assert {s.numerator for s in found if not s.labels} == {pages}


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b" ",
        b"null",
        b"{}",
        b"[]",
        b'"visit.ended"',
        b"\xef\xbb\xbf" + event("visit.ended", AT, visit_id="a"),
        event("visit.ended", AT, visit_id="a").decode().encode("utf-16"),
        event("visit.ended", AT, visit_id="a") * 2,
        event("visit.ended", AT, visit_id="a") + b"\0",
        event("visit.ended", AT, visit_id="a")[:-1],
        event("visit.ended", AT, visit_id="a", x="y").replace(b"y", b"\xed\xa0\x80"),
        event("visit.ended", AT, visit_id="a", x="y").replace(b"y", b"\xff"),
        event("visit.ended", AT, visit_id="a", x=1).replace(
            b":1", b":" + b"[" * 5000 + b"]" * 5000
        ),
        event("visit.ended", AT, visit_id="a", labels={"a": "b"}).replace(b'"b"', b"[" * 5000),
        event("visit.ended", AT, visit_id="a", labels={"a": "b"}).replace(b'"b"', b'"\\ud800"'),
        event("visit.ended", AT, visit_id="y").replace(b'"y"', b'"\\ud800"'),
        event("visit.ended", AT, visit_id="y").replace(b'"y"', b'"\\udc00\\ud800"'),
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_sound_json_is_refused(record: bytes) -> None:
    shard = new_shard(SETTINGS)
    good = event("visit.ended", AT, visit_id="a")
    refused = shard.ingest("cx.visit", [good, record, event("visit.ended", AT, visit_id="b")], NOW)
    assert [(r.place, r.outcome) for r in refused] == [(1, "invalid")]
    assert outcomes(shard) == {"accepted": 2, "invalid": 1}


def test_of_a_key_that_stands_there_twice_the_last_value_counts() -> None:
    twice = event("visit.ended", AT, visit_id="a", pages=3).replace(
        b'"pages"', b'"pages":9,"pages"'
    )
    shard = new_shard(SETTINGS)
    assert shard.ingest("cx.visit", [twice], NOW) == []
    found = {s.value for s in evaluation(shard, NOW) if s.kpi == "pages_per_visit" and s.value}
    assert found == {3.0}


@settings(max_examples=40, deadline=None)
@given(st.lists(events("cart.updated") | events("cart.purchased"), max_size=12), st.data())
def test_clocks_that_jump_lose_no_record(carts: list[dict[str, Any]], data: st.DataObject) -> None:
    shard = new_shard(SETTINGS)
    log = Log(shard)
    for cart in carts:
        now = data.draw(st.integers(NOW - 3 * DAY, NOW + 3 * DAY) | st.sampled_from([0, -HOUR]))
        shard.ingest("cx.cart", [orjson.dumps(cart)], now)
        shard.advance(now)
        log.flush(now)
    assert sum(outcomes(shard).values()) == len(carts)
    check_alive(shard, NOW + 3 * DAY, log)
