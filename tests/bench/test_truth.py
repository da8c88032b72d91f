"""What the benchmark checks before a time counts: wrong counts are found, right ones pass."""

import json

import pytest

from bench import answers, events, latency
from bench.answers import Answers
from bench.curves import relabelled
from bench.job import difference, with_score
from bench.programs.paced import happening, repeated
from bench.worker import gauge, wrong_gauges
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.values import Values
from stream.replay.recorded import Addressed

TRUTH = {"web/eu/0": [1, 0, 2], "web/eu/30": [0, 1, 1], "app/us/0": [3, 1, 4]}


@pytest.mark.parametrize(
    ("score", "counts"),
    [(10, [1, 0, 1]), (9, [1, 0, 1]), (8, [0, 0, 1]), (7, [0, 0, 1]), (6, [0, 1, 1])],
)
def test_scores_are_classed_as_nps_does(score: int, counts: list[int]) -> None:
    assert with_score([0, 0, 0], score) == counts


def test_equal_counts_are_the_truth_whatever_holds_them() -> None:
    assert difference({key: tuple(counts) for key, counts in TRUTH.items()}, TRUTH) is None


@pytest.mark.parametrize(
    "found",
    [
        {},
        {k: v for k, v in TRUTH.items() if k != "web/eu/30"},
        TRUTH | {"web/eu/60": [0, 0, 1]},
        TRUTH | {"web/eu/0": [1, 0, 3]},
        TRUTH | {"web/eu/0": [0, 1, 2]},
    ],
)
def test_a_count_that_differs_is_told(found: dict[str, list[int]]) -> None:
    assert difference(found, TRUTH) is not None


ANSWERS = Answers(7, "nps7.", 200.0, TRUTH)


def page(**changed: float) -> str:
    values = {
        "web_numerator": 0.0,
        "web_denominator": 3.0,
        "app_numerator": 2.0,
        "app_denominator": 4.0,
    }
    values |= changed
    regions = {"web": "eu", "app": "us"}
    return "\n".join(
        f'cx_nps_{part}{{channel="{channel}",region="{regions[channel]}",window="2h"}} {value}'
        for name, value in values.items()
        for channel, part in [name.split("_")]
    )


def test_gauges_with_the_totals_of_all_panes_are_the_truth() -> None:
    assert ANSWERS.by_segment() == {"web/eu": (0, 3), "app/us": (2, 4)}
    assert wrong_gauges(page(), ANSWERS) is None


@pytest.mark.parametrize("part", ["web_numerator", "app_denominator"])
def test_a_gauge_that_differs_is_told(part: str) -> None:
    assert wrong_gauges(page(**{part: 17.0}), ANSWERS) is not None
    assert wrong_gauges("", ANSWERS) is not None


def test_a_gauge_is_found_by_all_its_labels() -> None:
    text = 'g{a="1"} 1.0\ng{b="2",a="1"} 2.0\ng_sum{a="1"} 3.0'
    assert gauge(text, "g", {"a": "1", "b": "2"}) == 2
    assert gauge(text, "g", {"a": "1"}) == 1
    assert gauge(text, "g", {"a": "2"}) is None


def test_every_answer_is_one_that_the_product_accepts_and_counts_where_the_truth_does() -> None:
    values = []
    truth: dict[str, list[int]] = {}
    for _, value, counted, score in answers._answers(500, 1_768_392_000_000):
        values.append(value)
        truth[counted] = with_score(truth.get(counted, (0, 0, 0)), score)
    settings = Settings()
    shard = Shard(settings, Values(settings), event_time=True)
    assert not shard.ingest(answers.TOPIC, values)
    found: dict[str, list[int]] = {}
    for value in values:
        event = json.loads(value)
        key = f"{event['labels']['channel']}/{event['labels']['region']}"
        found[key] = with_score(found.get(key, (0, 0, 0)), event["score"])
    wanted = {k: (p - d, n) for k, (p, d, n) in found.items()}
    assert Answers(500, "", 0.0, truth).by_segment() == wanted


def test_a_twohundredth_of_the_events_are_repeats() -> None:
    values = [record[3] for record in events.generated(20_000)]
    assert 0.003 < 1 - len(set(values)) / len(values) < 0.007


@pytest.mark.parametrize("segments", [10, 100, 1_000, 10_000])
def test_relabelled_events_have_so_many_segments(segments: int) -> None:
    value = b'{"a":1,"labels":{"channel":"web","region":"eu"},"b":2}'
    found = {relabelled(value, b"%d" % i, segments) for i in range(20 * segments)}
    assert len(found) == segments
    assert all(json.loads(one)["b"] == 2 for one in found)


def test_repeated_events_have_ids_and_keys_of_their_own_in_each_turn() -> None:
    value = b'{"event_id":"e1","visit_id":"v1","occurred_at":"2026-01-01T00:00:00Z"}'
    turns = repeated([Addressed("cx.visit", b"v1", value)])
    first, second = next(turns), next(turns)
    assert json.loads(first.value)["visit_id"].encode() == first.key
    assert json.loads(second.value)["event_id"] == "1-e1"
    assert first.key != second.key


def test_an_event_happens_at_another_time_and_is_the_same_otherwise() -> None:
    value = b'{"event_id":"e1","occurred_at":"2026-01-01T00:00:00.000Z","pages":3}'
    _, _, moved = happening(Addressed("cx.visit", b"v", value), b"2027-02-02T02:02:02Z")
    assert json.loads(moved) == {
        "event_id": "e1", "occurred_at": "2027-02-02T02:02:02Z", "pages": 3,
    }  # fmt: skip


def line(partition: int, count: int, window: str = "5m") -> str:
    labels = f'channel="probe",region="p{partition}",window="{window}"'
    return f"cx_nps_denominator{{{labels}}} {count}.0"


def test_a_probe_has_arrived_when_its_partition_first_counts_it() -> None:
    probes = latency.Probes(2)
    probes.sent = [[10.0, 11.0], [10.5]]
    probes.see(line(0, 1) + "\n" + line(1, 0) + "\n" + line(1, 9, "1h"), 12.0)
    assert not probes.complete()
    probes.see(line(0, 2) + "\n" + line(1, 1), 13.0)
    assert probes.complete()
    assert probes.latencies(0) == [2.0, 2.0, 2.5]
    assert probes.latencies(10.6) == [2.0]


def test_a_probe_is_an_answer_that_the_product_accepts() -> None:
    settings = Settings()
    shard = Shard(settings, Values(settings), event_time=True)
    assert not shard.ingest("cx.survey", [latency.probe(0, 0)[1], latency.probe(1, 0)[1]])
