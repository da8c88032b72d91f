"""Whatever producers send, memory, series and files stay within stated bounds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count, product
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from stream.broker import Broker
from stream.config import Config, ConfigError, load
from stream.config.fields import Between
from stream.core.catalogue import KPIS
from stream.core.cells import MAX_ROWS
from stream.core.formulas import fixed
from stream.core.labels import MAX_ENTRIES
from stream.core.segments import CURRENCY_ROOM
from stream.core.settings import HOUR, MINUTE, Settings, Window
from stream.core.table import Index
from stream.core.timestamps import format_ms
from stream.core.topics.survey.events import SurveyResponded
from stream.core.topics.survey.opinions import count_emotions
from stream.kafka.producer import EventProducer
from stream.metrics.exposition import parse
from tests.kafka.conftest import Sites
from tests.kafka.workers import resident_mb
from tests.safety.shards import evaluation, event, new_shard, outcomes
from tests.safety.test_hostile import exposed
from tests.strategies import NOW

AT = format_ms(NOW)
SMALL = Settings(
    windows=(Window("1h", HOUR, MINUTE),),
    rollups=((), ("channel",), ("channel", "region")),
    max_values_per_dimension=20,
    max_segments=50,
)


def test_100_000_values_of_a_label_become_a_bounded_number_of_series() -> None:
    shard = new_shard(SMALL)
    numbers = count()
    for _ in range(10):
        values = [
            event("visit.ended", AT, visit_id="a", labels={"channel": f"value-{next(numbers)}"})
            for _ in range(10_000)
        ]
        assert shard.ingest("cx.visit", values, NOW) == []
    channels = {
        dict(s.labels)["channel"] for s in evaluation(shard, NOW) if s.labels and s.denominator
    }
    assert channels == {*(f"value-{n}" for n in range(20)), "other"}
    assert outcomes(shard) == {"accepted": 100_000}
    totals = [s for s in evaluation(shard, NOW) if s.kpi == "conversion" and not s.labels]
    assert totals[0].denominator == 100_000
    by_channel = [s for s in evaluation(shard, NOW) if s.kpi == "conversion" and s.labels]
    assert sum(s.denominator or 0 for s in by_channel) == 100_000
    assert len(exposed(shard, NOW)) < 200_000


def test_10_000_label_sets_and_currencies_stay_within_max_segments() -> None:
    shard = new_shard(SMALL)
    letters = [chr(65 + i) for i in range(26)]
    values = []
    sent: Counter[str] = Counter()
    for n in range(10_000):
        currency = letters[n % 26] + letters[n // 26 % 26] + letters[n // 676 % 26]
        sent[currency] += 1
        labels = {"channel": str(n % 19), "region": str(n // 19 % 19), "further": str(n)}
        values.append(
            event(
                "subscription.started",
                AT,
                subscription_id=str(n),
                labels=labels,
                amount=1,
                currency=currency,
            )
        )
    assert shard.ingest("cx.subscription", values, NOW) == []
    # Beyond the limit there are some currencies, and one segment for each choice of labels that an
    # event can lack.
    most = SMALL.max_segments + CURRENCY_ROOM + 4
    assert len(shard.segments) <= most
    assert len(shard.active.sets) <= 2 * SMALL.max_segments + 8
    found = evaluation(shard, NOW)
    paid = [s for s in found if s.kpi == "upsell" and "channel" not in dict(s.labels)]
    # What finds no room for its currency is in no sum of money, and never in one of several.
    sums = {dict(s.labels)["currency"]: s.denominator for s in paid}
    assert len(sums) >= CURRENCY_ROOM
    assert sums.items() <= sent.items()
    kinds = (len(KPIS) + 3) * len(SMALL.rollups) * len(SMALL.windows)
    assert len(found) <= kinds * most


def test_ids_are_forgotten_as_time_goes_by() -> None:
    shard = new_shard(SMALL)
    for minute in range(60):
        at = NOW + minute * MINUTE
        values = [event("visit.ended", format_ms(at), visit_id="a") for _ in range(100)]
        assert shard.ingest("cx.visit", values, at) == []
        shard.settle(at)
    kept_minutes = SMALL.dedupe_ms // MINUTE + 2
    assert shard.remembered()["event_ids"] <= 100 * kept_minutes


def test_ids_that_are_chosen_by_their_digests_are_spread_like_any_others() -> None:
    """All in a quarter of the buckets, 200,000 of them would take 46 CPU s instead of 0.1."""
    keys = np.unique(np.random.default_rng(1).integers(1, 1 << 62, 200_000))
    index = Index()
    index.rebuild(keys, np.arange(keys.size), 0)
    assert (index._taken == 16).mean() < 0.01
    assert (index.find(keys, keys) == np.arange(keys.size)).all()


def test_emotions_in_thousands_of_spellings_are_remembered_as_few_numbers() -> None:
    spellings = ["".join(c) for c in product(*((c, c.upper()) for c in "irritated"))]
    answer = SurveyResponded(
        event_id="a",
        occurred_at=AT,
        response_id="a",
        survey="emotion",
        emotions=msgspec.Raw(orjson.dumps({**dict.fromkeys(spellings, 5), "happy": 2})),
    )
    assert len(spellings) == 512
    assert list(count_emotions(answer, Settings())) == [
        ("emotions_negative", 512),
        ("emotions_negative_sum", 512 * fixed(5)),
        ("emotions_positive", 1),
        ("emotions_positive_sum", fixed(2)),
    ]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_worker_that_catches_up_with_records_of_a_megabyte_stays_small(
    sites: Sites, broker: Broker
) -> None:
    """600 records of 1 MB wait; packed they are so small that a fetch brings hundreds."""
    site = sites(broker.bootstrap)
    now = format_ms(time.time_ns() // 1_000_000)
    records = 600

    async def send() -> None:
        async with EventProducer(site.config.kafka) as producer:
            for n in range(records):
                more = {"note": "x" * 1_000_000} if n % 2 else {"note": ["y" * 1_000_000]}
                value = event("visit.ended", now, visit_id=str(n), **more)
                await producer.write([("cx.visit", str(n).encode(), value)])

    asyncio.run(send())
    worker = site.worker()
    worker.until_ready()
    resting = resident_mb(worker, "VmRSS")

    def counted() -> float:
        found = parse(worker.page("/metrics")[1])
        return sum(s.value for s in found if s.name == "cx_events_total")

    worker.until(lambda: counted() >= records, "counted all", seconds=400)
    most = resident_mb(worker)
    print(f"RSS at readiness {resting:.0f} MB, at most {most:.0f} MB")  # noqa: T201
    # All at once they would take 600 MB, and twice that while they are unpacked.
    assert most < resting + 200


def test_every_segment_that_may_be_configured_has_a_key_of_its_own() -> None:
    """Beyond come those of ``other``: some currencies, and one for each choice of absent labels."""
    largest = Config.model_fields["max_segments"].metadata
    most = max(m.high for m in largest if isinstance(m, Between))
    assert most + CURRENCY_ROOM + 2**MAX_ENTRIES < MAX_ROWS


def test_there_are_no_more_dimensions_than_labels(tmp_path: Path) -> None:
    names = ", ".join(f'"d{i}"' for i in range(MAX_ENTRIES + 1))
    file = tmp_path / "cxkpi.toml"
    file.write_text(f"dimensions = [{names}]\nrollups = [[]]\n")
    with pytest.raises(ConfigError, match=r"cxkpi.toml:1: dimensions: must have at most 16"):
        load(file, {})
