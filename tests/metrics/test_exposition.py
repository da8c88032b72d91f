"""What the text of a view says, and that it is what the library would have written."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stream.core.kpi import Kpi
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.values import Values
from stream.metrics import exposition as exposition_module
from stream.metrics.exposition import Exposition, Scraped, parse
from stream.metrics.families import WORKER_FAMILIES, families, kpi_families
from stream.metrics.label_text import label_text
from stream.metrics.view import AlertGauge, Timing, WorkerView
from tests.metrics.kpis import KPIS
from tests.metrics.views import view

HOSTILE = ('a"b', "line\nbreak", "back\\slash", "\\n", "é – 漢字 🙂", "{}=,", " ", "\r\t\u2028")


def exposed(worker: WorkerView, kpis: dict[str, Kpi] = KPIS) -> list[Scraped]:
    return list(parse(Exposition(kpis).text(worker).decode()))


def evaluated(*samples: Sample) -> WorkerView:
    return WorkerView(evaluation=Evaluation(1_000, samples))


def value_of(series: list[Scraped], name: str, **labels: str) -> float:
    found = [s.value for s in series if s.name == name and s.labels == labels]
    assert len(found) == 1, f"{name}{labels}: {len(found)} series"
    return found[0]


def timed(what: str, count: int, total: float, last: float) -> dict[str, float]:
    """The series of something that takes time."""
    return {
        f"cx_worker_{what}_seconds_count": count,
        f"cx_worker_{what}_seconds_sum": total,
        f"cx_worker_last_{what}_seconds": last,
    }


def test_a_sample_becomes_one_gauge_for_each_part_it_has() -> None:
    labels = (("channel", "chat"),)
    series = exposed(evaluated(Sample("nps", "1h", labels, 30.0, 14.1, 44.2, 30.0, 100.0)))
    got = {s.name: s.value for s in series if s.name.startswith("cx_nps")}
    assert got == {
        "cx_nps": 30.0,
        "cx_nps_lower": 14.1,
        "cx_nps_upper": 44.2,
        "cx_nps_numerator": 30.0,
        "cx_nps_denominator": 100.0,
    }
    for one in series:
        if one.name.startswith("cx_nps"):
            assert one.labels == {"window": "1h", "channel": "chat"}


def test_the_total_carries_no_label_but_the_window() -> None:
    series = exposed(evaluated(Sample("csat", "5m", (), 0.76)))
    assert value_of(series, "cx_csat_ratio", window="5m") == 0.76


def test_currency_is_a_label_beside_those_of_the_rollup() -> None:
    labels = (("currency", "EUR"), ("region", "north"))
    series = exposed(evaluated(Sample("upsell", "1h", labels, 0.2)))
    assert value_of(series, "cx_upsell_ratio", window="1h", currency="EUR", region="north") == 0.2


def test_quantiles_are_a_summary_without_sum_and_count() -> None:
    sample = Sample("art_quantile", "1h", (("quantile", "0.9"),), 322.6)
    text = Exposition(KPIS).text(evaluated(sample)).decode()
    assert "# TYPE cx_art_quantile_seconds summary\n" in text
    assert 'cx_art_quantile_seconds{quantile="0.9",window="1h"} 322.6\n' in text
    assert "cx_art_quantile_seconds_sum" not in text


def test_without_data_the_value_is_absent_and_the_counts_are_zero() -> None:
    series = exposed(evaluated(Sample("csat", "1h", (), None, None, None, 0.0, 0.0)))
    names = {s.name for s in series if s.name.startswith("cx_csat")}
    assert names == {"cx_csat_ratio_numerator", "cx_csat_ratio_denominator"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_exposed(number: float) -> None:
    worker = WorkerView(
        evaluation=Evaluation(1, (Sample("csat", "1h", (), number, number, 1.0),)),
        covered={"1h": number},
    )
    text = Exposition(KPIS).text(worker).decode().lower()
    assert "nan" not in text
    assert " inf" not in text
    assert " +inf" not in text
    assert "cx_csat_ratio_upper" in text


def test_numbers_of_numpy_are_written_like_others() -> None:
    sample = Sample("csat", "1h", (), np.float64(0.1), numerator=np.float64(1e20))
    series = exposed(evaluated(sample))
    assert value_of(series, "cx_csat_ratio", window="1h") == 0.1
    assert value_of(series, "cx_csat_ratio_numerator", window="1h") == 1e20


def test_a_worker_without_a_complete_evaluation_exposes_no_kpi() -> None:
    whole = view(KPIS)
    names = {s.name for s in exposed(whole)}
    partial = {s.name for s in exposed(WorkerView(outcomes=whole.outcomes))}
    gauges = {family.name for family in kpi_families(KPIS)}
    assert gauges <= names
    assert not gauges & partial
    assert "cx_evaluated_timestamp_seconds" not in partial
    assert "cx_events_total" in partial


def test_every_declared_family_is_exposed_and_every_exposed_one_declared() -> None:
    declared = {family.name: family for family in families(KPIS)}
    text = Exposition(KPIS).text(view(KPIS)).decode()
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    assert types == {name: family.kind for name, family in declared.items()}


def test_every_series_has_the_labels_that_its_family_declares() -> None:
    declared = {family.name: set(family.labels) for family in families(KPIS)}
    for series in exposed(view(KPIS)):
        family = series.name.removesuffix("_sum").removesuffix("_count")
        assert declared[family if family in declared else series.name] <= set(series.labels)


def test_the_workers_own_state_is_told_in_base_units() -> None:
    worker = WorkerView(
        evaluation=Evaluation(1_500, ()),
        evaluated_ms={"nps": 1_500},
        outcomes={("cx.cart", "late"): 3},
        last_event_ms={"cx.cart": 61_250},
        covered={"7d": 0.25},
        alerts=(
            AlertGauge("A", "critical", (("region", "north"),), firing=True),
            AlertGauge("A", "critical", (("region", "south"),), firing=False),
            AlertGauge("B", "warning", (), firing=False),
        ),
        lag={("cx.cart", 3): 17},
        flush=Timing().plus(0.25).plus(0.5),
        ready=True,
    )
    series = exposed(worker)
    assert value_of(series, "cx_events_total", topic="cx.cart", outcome="late") == 3
    assert value_of(series, "cx_last_event_timestamp_seconds", topic="cx.cart") == 61.25
    assert value_of(series, "cx_evaluated_timestamp_seconds", kpi="nps") == 1.5
    assert value_of(series, "cx_window_covered_ratio", window="7d") == 0.25
    firing = {"rule": "A", "severity": "critical"}
    assert value_of(series, "cx_alert_firing", **firing, region="north") == 1
    assert value_of(series, "cx_alert_firing", **firing, region="south") == 0
    assert value_of(series, "cx_alert_firing", rule="B", severity="warning") == 0
    assert value_of(series, "cx_worker_lag_records", topic="cx.cart", partition="3") == 17
    assert value_of(series, "cx_worker_flush_seconds_count") == 2
    assert value_of(series, "cx_worker_flush_seconds_sum") == 0.75
    assert value_of(series, "cx_worker_last_flush_seconds") == 0.5
    assert value_of(series, "cx_worker_ready") == 1
    assert not [s for s in series if s.name == "cx_worker_last_recovery_seconds"]


@pytest.mark.parametrize(
    ("said", "series"),
    [
        ({"ready": True}, {"cx_worker_ready": 1.0}),
        ({"flush": Timing(3, 1.5, 0.25)}, timed("flush", 3, 1.5, 0.25)),
        ({"evaluated": Timing(4, 1.5, 0.25)}, timed("evaluation", 4, 1.5, 0.25)),
        ({"recovery": Timing(5, 1.5, 0.25)}, timed("recovery", 5, 1.5, 0.25)),
        ({"flush_failures": 7}, {"cx_worker_flush_failures_total": 7.0}),
        (
            {"rule_evaluations_skipped": {"t": 7}},
            {'cx_worker_rule_evaluations_skipped_total{topic="t"}': 7.0},
        ),
        ({"shards": 7}, {'cx_worker_shards{state="owned"}': 7.0}),
        ({"shards_recovering": 7}, {'cx_worker_shards{state="recovering"}': 7.0}),
        ({"segments": 7}, {"cx_worker_segments": 7.0}),
        ({"most_segments": 7}, {"cx_worker_most_segments": 7.0}),
        ({"refused_bases": 7}, {"cx_worker_refused_bases_total": 7.0}),
        ({"dead_letters": {"t": 7}}, {'cx_worker_dead_letters_total{topic="t"}': 7.0}),
        ({"gaps": {"t": 7}}, {'cx_worker_gap_records_total{topic="t"}': 7.0}),
        ({"damaged_shares": {"t": 7}}, {'cx_worker_damaged_shares{topic="t"}': 7.0}),
        ({"remembered": {"carts": 7}}, {'cx_worker_remembered{kind="carts"}': 7.0}),
        ({"forgotten": {"carts": 7}}, {'cx_worker_forgotten_total{kind="carts"}': 7.0}),
        ({"lag": {("t", 2): 7}}, {'cx_worker_lag_records{partition="2",topic="t"}': 7.0}),
        ({"outcomes": {("t", "late"): 7}}, {'cx_events_total{outcome="late",topic="t"}': 7.0}),
        ({"last_event_ms": {"t": 1500}}, {'cx_last_event_timestamp_seconds{topic="t"}': 1.5}),
        ({"evaluated_ms": {"nps": 1500}}, {'cx_evaluated_timestamp_seconds{kpi="nps"}': 1.5}),
        ({"covered": {"1h": 0.5}}, {'cx_window_covered_ratio{window="1h"}': 0.5}),
        (
            {"notifications": {("log", "sent"): 7}},
            {'cx_worker_notifications_total{result="sent",sink="log"}': 7.0},
        ),
        (
            {"benchmarks": {("nps", "retail"): 7.0}},
            {'cx_benchmark{industry="retail",kpi="nps"}': 7.0},
        ),
    ],
    ids=lambda said: next(iter(said)),
)
def test_each_part_of_a_view_is_told_as_its_own_series_and_as_no_other(
    said: dict[str, Any], series: dict[str, float]
) -> None:
    nothing, worker = told(WorkerView()), told(WorkerView(**said))
    assert {name: n for name, n in worker.items() if nothing.get(name) != n} == series


def told(worker: WorkerView) -> dict[str, float]:
    """The series of the worker itself, as they are written."""
    lines = Exposition(KPIS).text(worker).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("cx_"))
    return {name: float(value) for name, _, value in pairs}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_label_values_come_back_unchanged(text: str) -> None:
    worker = WorkerView(
        evaluation=Evaluation(1, (Sample("csat", "1h", (("channel", text),), 0.5),)),
        alerts=(AlertGauge("A", "warning", (("channel", text),), firing=True),),
        lag={(text, 0): 1},
    )
    series = exposed(worker)
    assert value_of(series, "cx_csat_ratio", window="1h", channel=text) == 0.5
    assert value_of(series, "cx_alert_firing", rule="A", severity="warning", channel=text) == 1
    assert value_of(series, "cx_worker_lag_records", topic=text, partition="0") == 1


class _Oracle(Collector):
    """The same samples through the library alone."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        for family in kpi_families(KPIS):
            metric = Metric(family.name, family.help, family.kind)
            for sample in self._samples:
                value = getattr(sample, family.part)
                if sample.kpi == family.sample and value is not None:
                    names = {"window": sample.window, **dict(sample.labels)}
                    metric.add_sample(family.name, names, value)
            if metric.samples:
                yield metric


_LABELS = st.lists(st.text(min_size=1, max_size=6), min_size=0, max_size=2).map(
    lambda values: tuple(zip(("channel", "zone"), values, strict=False))
)
_EDGES = st.sampled_from([1e6, 999_999.9999999999, -1e6, 1e-7])
_NUMBER = st.none() | st.floats(-1e9, 1e9) | st.integers(-1000, 1000).map(float) | _EDGES
_SAMPLE: st.SearchStrategy[Any] = st.builds(
    Sample,
    st.sampled_from([*KPIS, "art_quantile"]),
    st.sampled_from(["5m", "1h"]),
    _LABELS,
    *[_NUMBER] * 5,
)


@given(st.lists(_SAMPLE, max_size=8, unique_by=lambda s: (s.kpi, s.window, s.labels)).map(tuple))
def test_kpi_lines_are_those_that_the_library_writes(samples: tuple[Sample, ...]) -> None:
    text = Exposition(KPIS).text(evaluated(*samples))
    assert text.startswith(generate_latest(_Oracle(samples)))


def test_the_lines_of_an_evaluation_are_kept_but_not_for_another() -> None:
    exposition = Exposition(KPIS)
    shown = []
    for value, accepted in ((0.1, 1), (0.1, 2), (0.2, 2)):
        samples = (Sample("csat", "1h", (), value),)
        outcomes = {("cx.cart", "accepted"): accepted}
        worker = WorkerView(evaluation=Evaluation(1, samples), outcomes=outcomes)
        for same in (worker, msgspec.structs.replace(worker, ready=True)):
            series = list(parse(exposition.text(same).decode()))
            shown.append(
                (
                    value_of(series, "cx_csat_ratio", window="1h"),
                    value_of(series, "cx_events_total", topic="cx.cart", outcome="accepted"),
                    value_of(series, "cx_worker_ready"),
                )
            )
    assert shown == [(0.1, 1, 0), (0.1, 1, 1), (0.1, 2, 0), (0.1, 2, 1), (0.2, 2, 0), (0.2, 2, 1)]
    assert "cx_csat_ratio" not in exposition.text(WorkerView()).decode()


class Counted(tuple[Sample, ...]):
    """Samples that know how often they were gone through."""

    times = 0

    def __iter__(self) -> Iterator[Sample]:
        self.times += 1
        return super().__iter__()


def test_lines_are_written_once_for_the_same_samples_at_a_later_time() -> None:
    exposition = Exposition(KPIS)
    samples = Counted([Sample("csat", "1h", (), 0.1)])
    for at in (1, 2, 3):
        times = {"csat": at}
        exposition.text(WorkerView(evaluation=Evaluation(at, samples), evaluated_ms=times))
        assert samples.times == 1


def test_no_more_texts_of_label_sets_are_kept_than_a_worker_can_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []

    def noted(window: str, labels: LabelPairs) -> str:
        written.append(dict(labels)["channel"])
        return label_text(window, labels)

    monkeypatch.setattr(exposition_module, "label_text", noted)
    monkeypatch.setattr(exposition_module, "_MOST_LABEL_SETS", 3)
    shown = Exposition(KPIS)
    for channels in ("ab", "abc", "abcd", "cd", "cd"):
        samples = [Sample("csat", "1h", (("channel", channel),), 0.5) for channel in channels]
        text = shown.text(evaluated(*samples)).decode()
        assert [s.labels["channel"] for s in parse(text) if s.name == "cx_csat_ratio"] == [
            *channels
        ]
    assert "".join(written) == "abcdcd", "what is kept is not written again"


@pytest.mark.parametrize("text", ["<html>", "{", "cx_nps{", "cx_nps one", 'a{b="c} 1', "a{b} 1"])
def test_other_texts_are_no_exposition(text: str) -> None:
    with pytest.raises(ValueError, match="not a Prometheus text"):
        list(parse(text))


def test_the_kinds_of_what_is_remembered_and_forgotten_are_those_that_the_help_names() -> None:
    """Ids of events are remembered for as long as they are asked for, and never forgotten early."""
    shard = Shard(Settings(), Values(Settings()))
    told = {family.name: family.help for family in WORKER_FAMILIES}
    for name, kinds in (
        ("cx_worker_remembered", shard.remembered()),
        ("cx_worker_forgotten_total", shard.forgotten()),
    ):
        assert ("event ids" in told[name]) is ("event_ids" in kinds), name
        assert {"answers", "tickets", "carts"} <= kinds.keys()
