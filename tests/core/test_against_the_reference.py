"""The core says of any stream what the slow reference says of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stream.core.series import Sample
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import new_shard, outcomes, samples, settings_of
from tests.reference.comparing import are_close, by_key, differences
from tests.reference.config import DAY, DEFAULTS, HOUR, MINUTE, Config, from_toml
from tests.reference.events import TOPICS, BrokenError, milliseconds, parse
from tests.reference.reading import Reading, merged
from tests.reference.rows import Row, rows
from tests.reference.streams import NOON, read_under, text

#: ``make mutants`` asks only whether there is a difference.
IS_HASTY = "FUZZ_HASTY" in os.environ

CASES = json.loads((Path(__file__).parents[1] / "data/cases.json").read_text())

#: In each run the same streams, so that a failure is the change's; ``FUZZ_STREAMS=20000`` looks
#: at so many others, as does ``make fuzz``, which is quicker.
FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_STREAMS", "120")),
    derandomize="FUZZ_STREAMS" not in os.environ,
    print_blob=True,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([] if IS_HASTY else [Phase.shrink])],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

later = st.sampled_from([0, 0, 1, MINUTE, 30 * MINUTE, HOUR, DAY, 7 * DAY])


def compare(config: Config, records: list[bytes], after: int) -> None:
    reading = Reading(config).read(records)
    core = settings_of(config)
    shard = new_shard(core)
    assert outcomes(records, shard.ingest(None, records)) == reading.outcomes
    if reading.t is not None:
        assert shard.progress.now == reading.t
        at = reading.t + after
        assert not differences(reading, samples(core, [shard], at), at)


@FUZZ
@given(read_under(), later)
def test_outcomes_and_rows_are_the_references(
    given: tuple[Config, list[bytes]], after: int
) -> None:
    compare(*given, after)


@pytest.mark.parametrize("topic", TOPICS)
@settings(FUZZ, max_examples=FUZZ.max_examples // 3)
@given(st.data())
def test_one_topic_alone_is_the_references(topic: str, data: st.DataObject) -> None:
    compare(*data.draw(read_under((topic, "visit"))), data.draw(later))


@FUZZ
@given(read_under(), st.data())
def test_batches_and_forgetting_in_between_change_nothing(
    given: tuple[Config, list[bytes]], data: st.DataObject
) -> None:
    config, records = given
    reading = Reading(config).read(records)
    core = settings_of(config)
    shard = new_shard(core)
    found: list[Any] = []
    while len(found) < len(records):
        batch = records[len(found) :][: data.draw(st.integers(1, 9))]
        found += outcomes(batch, shard.ingest(None, batch))
        if reading.t is not None and shard.progress.first is not None:
            shard.advance(shard.progress.now)
            shard.settle(shard.progress.now)
    assert found == reading.outcomes
    if reading.t is not None:
        assert not differences(reading, samples(core, [shard], reading.t), reading.t)


@FUZZ
@given(read_under(), st.data())
def test_a_shard_that_starts_over_from_its_log_is_as_if_it_had_never_stopped(
    given: tuple[Config, list[bytes]], data: st.DataObject
) -> None:
    config, records = given
    reading = Reading(config).read(records)
    core = settings_of(config)
    shard = new_shard(core)
    log, durable = StateLog(shard), dict[bytes, bytes]()
    found: list[Any] = []
    flushed = crashes = 0
    while len(found) < len(records):
        batch = records[len(found) :][: data.draw(st.integers(1, 5))]
        found += outcomes(batch, shard.ingest(None, batch))
        event = data.draw(st.sampled_from(["flush", "crash", "nothing", "flush and stop"]))
        if "flush" in event and shard.progress.first is not None:
            shard.advance(shard.progress.now)
            for key, value in log.flush(shard.progress.now):
                durable.pop(key, None)
                if value is not None:
                    durable[key] = value
            flushed = len(found)
        if event == "flush and stop" or (event == "crash" and crashes < 5):
            crashes += 1
            shard = new_shard(core)
            log = StateLog(shard)
            log.recover(durable)
            # What came after the last flush is read again.
            del found[flushed:]
    assert found == reading.outcomes
    if reading.t is not None:
        assert not differences(reading, samples(core, [shard], reading.t), reading.t)


@FUZZ
@given(read_under(unique=True))
def test_shards_that_share_the_entities_are_together_like_one(
    given: tuple[Config, list[bytes]],
) -> None:
    config, records = given
    core = settings_of(config)
    values, own = Values(core), Values(core)
    halves = [Shard(core, values), Shard(core, values)]
    one = Shard(core, own)
    now = 0
    for record in records:
        event = parse(record)
        if event.topic == "subscription" and config["max_values_per_dimension"] < 100:
            continue  # A set of labels stays where its shard counted it first: see the next test.
        now = max(now, event.at)
        base = event.type == "subscription.base"
        first = "channel" in event.labels if base else event.entity == "a"
        half = halves[first]
        assert half.ingest(None, [record], now) == one.ingest(None, [record], now)
    together = [s for s in samples(core, halves, now) if s.kpi != "art_quantile"]
    alone = [s for s in samples(core, [one], now) if s.kpi != "art_quantile"]
    a, b = by_key(together), by_key(alone)
    assert a.keys() == b.keys()
    assert not {k: (a[k], b[k]) for k in a if not all(map(are_close, a[k], b[k]))}


@FUZZ
@given(read_under(), st.data())
def test_a_running_clock_is_read_as_by_the_reference(
    given: tuple[Config, list[bytes]], data: st.DataObject
) -> None:
    config, records = given
    reading, core = Reading(config), settings_of(config)
    shard = Shard(core, Values(core))
    clock = NOON
    found: list[Any] = []
    ahead = st.sampled_from([0, 0, 1, -MINUTE, -MINUTE - 1, DAY, -DAY])
    for record in records:
        at = occurred(record)
        clock = clock if at is None else at + data.draw(ahead)
        reading.read_live(record, clock)
        found += outcomes([record], shard.ingest(None, [record], clock))
    assert found == reading.outcomes
    assert reading.t is not None
    assert shard.progress.now == reading.t
    if reading.accepted:
        assert not differences(reading, samples(core, [shard], reading.t), reading.t)


def occurred(record: bytes) -> int | None:
    try:
        return parse(record).at
    except BrokenError:
        return None


def test_shards_agree_on_where_a_set_of_labels_counts() -> None:
    core = settings_of({**DEFAULTS, "max_values_per_dimension": 1})

    def record(kind: str, at: int, channel: str, **more: Any) -> bytes:
        event = {"type": kind, "occurred_at": text(at), "labels": {"channel": channel}}
        return json.dumps({**event, "event_id": f"{kind}{at}", **more}).encode()

    now = NOON + 8 * DAY
    records = [
        record("subscription.base", NOON, "shop", active=6),
        record("visit.ended", now, "web", visit_id="v"),
        record("subscription.started", now, "shop", subscription_id="s"),
    ]
    values = Values(core)
    halves = [Shard(core, values), Shard(core, values)]
    for half, read, at in zip((0, 0, 1), records, (NOON, now, now), strict=True):
        assert not halves[half].ingest(None, [read], at)
    assert by_key(samples(core, halves, now)) == by_key(samples(core, halves[::-1], now))


def read_case(case: Mapping[str, Any]) -> tuple[Config, list[bytes], int | None]:
    files = [
        [(r if isinstance(r, str) else json.dumps(r)).encode() for r in f] for f in case["files"]
    ]
    order = merged(files) if len(files) > 1 else files[0]
    return from_toml(case["config"]), order, milliseconds(case["at"]) if case["at"] else None


def check_case(
    case: Mapping[str, Any], found: Sequence[Any], rows: Sequence[Row] | Sequence[Sample]
) -> None:
    if "outcomes" in case:
        assert Counter(o for o in found if o) == Counter(o for o in case["outcomes"] if o)
    by_labels = {(r.kpi, r.window, tuple(sorted(r.labels))): r for r in rows}
    for wanted in case["rows"]:
        row = by_labels.get(
            (wanted["kpi"], wanted["window"], tuple(sorted(wanted["labels"].items())))
        )
        for field in wanted.keys() - {"kpi", "window", "labels"}:
            got, want = getattr(row, field, None), wanted[field]
            if got is None and want == 0 and field in ("numerator", "denominator"):
                continue  # A row without contributions is left out.
            value, tolerance = (
                want if isinstance(want, list) else (want, 1e-6 * max(1, abs(want or 0)))
            )
            assert (got is None) == (value is None), (wanted, field, got)
            assert got is None or abs(got - value) <= tolerance, (wanted, field, got)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_reference_says_what_the_worked_cases_say(case: Mapping[str, Any]) -> None:
    config, records, at = read_case(case)
    reading = Reading(config, at).read(records)
    wanted = [r for r in case["rows"] if r["kpi"] != "art_quantile"]
    check_case({**case, "rows": wanted}, reading.outcomes, rows(reading, at))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_core_says_what_the_worked_cases_say(case: Mapping[str, Any]) -> None:
    config, records, at = read_case(case)
    core = settings_of(config)
    shard = new_shard(core, until=at)
    refused = outcomes(records, shard.ingest(None, records))
    found = [
        None if o == "accepted" and at is not None and parse(r).at > at else o
        for r, o in zip(records, refused, strict=True)
    ]
    t = at if at is not None else shard.progress.now
    check_case(case, found, samples(core, [shard], t))
