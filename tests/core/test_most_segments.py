"""Which combinations are kept apart does not depend on when somebody tidies up."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

import pytest

from stream.core import intake
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Settings, Window
from stream.core.shard import Shard
from stream.core.state import StateLog
from stream.core.values import Values
from tests.core.running import new_shard, samples
from tests.reference.streams import NOON, text

CORE = Settings(
    dimensions=("channel",),
    rollups=((), ("channel",)),
    windows=(Window("5m", 5 * MINUTE, 5 * SECOND), Window("7d", 7 * DAY, HOUR)),
)
KINDS: tuple[dict[str, Any], ...] = (
    {"type": "visit.ended", "visit_id": "v"},
    {"type": "subscription.started", "amount": 1, "currency": "EUR"},
    {"type": "subscription.started", "amount": 1, "currency": "USD"},
    {"type": "subscription.started"},
)


def said(number: int, kind: dict[str, Any], channel: str, at: int) -> bytes:
    event = {"event_id": f"e{number}", "occurred_at": text(at), "labels": {"channel": channel}}
    if kind["type"] != "visit.ended":
        event["subscription_id"] = f"s{number}"
    return json.dumps({**event, **kind}).encode()


def shown(core: Settings, shard: Shard) -> list[Any]:
    """All series but those of active subscriptions, whose label sets have a limit of their own."""
    at = shard.progress.now
    found = [s for s in samples(core, [shard], at) if s.kpi not in ("churn", "retention", "clv")]
    return sorted((s.kpi, s.window, s.labels, s.numerator, s.denominator) for s in found)


@pytest.mark.parametrize("size", [4, 2, 1])
def test_rows_that_are_over_take_no_room(size: int) -> None:
    core = replace(CORE, max_segments=2)
    shard = new_shard(core)
    days = {"a": 0, "b": 0, "c": 30, "d": 30}
    records = [
        said(n, KINDS[0], channel, NOON + day * DAY)
        for n, (channel, day) in enumerate(days.items())
    ]
    for first in range(0, 4, size):
        assert not shard.ingest(None, records[first : first + size])
        shard.settle(shard.progress.now)
    apart = {s.labels for s in samples(core, [shard], shard.progress.now) if s.kpi == "conversion"}
    assert apart == {(), (("channel", "c"),), (("channel", "d"),)}


@pytest.mark.parametrize("seed", range(12))
def test_how_a_stream_is_cut_changes_nothing_of_what_is_kept_apart(seed: int) -> None:
    random = Random(seed)
    core = replace(CORE, max_segments=random.choice([1, 2, 3, 5]))
    kinds = random.choice([KINDS[:1], KINDS[1:], KINDS])
    records, at = [], NOON
    for number in range(60):
        at += random.choice([0, 0, MINUTE, HOUR, 3 * DAY, 9 * DAY])
        records.append(said(number, random.choice(kinds), random.choice("abcdef"), at))
    exact, cut = new_shard(core), new_shard(core)
    with mock.patch.object(intake, "_HEAD", random.choice([1, 256])):
        while records:
            size = random.choice([1, 2, 5, 20, 60])
            some, records = records[:size], records[size:]
            assert not cut.ingest(None, some)
            for record in some:
                assert not exact.ingest(None, [record])
                exact.settle(exact.progress.now)
            if random.random() < 0.3:
                cut.settle(cut.progress.now)
            assert shown(core, cut) == shown(core, exact)


def test_a_row_that_came_and_went_between_two_flushes_is_no_trouble_after_a_recovery() -> None:
    core = replace(CORE, max_segments=2)
    shard = new_shard(core)
    state = StateLog(shard)
    days = {"a": 0, "b": 0, "c": 30, "d": 60, "e": 90}
    records = [
        said(n, KINDS[0], channel, NOON + day * DAY)
        for n, (channel, day) in enumerate(days.items())
    ]
    assert not shard.ingest(None, records)
    log = {k: v for k, v in state.flush(shard.progress.now) if v is not None}
    recovered = Shard(core, Values(core), event_time=True)
    StateLog(recovered).recover(log)
    assert shown(core, recovered) == shown(core, shard)
