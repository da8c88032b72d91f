"""What the view makes of scrapes: windows, trends, rates, alert changes and worst segments."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.catalogue import KPIS as CATALOGUE
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.metrics.exposition import Exposition
from stream.metrics.view import AlertGauge, WorkerView
from stream.top.snapshot import NotExposed, NoWorker, Snapshot, read
from stream.top.trends import _TREND, Trends, sparkline, totals, without_data, worst_segments
from tests.metrics.kpis import KPIS
from tests.metrics.views import view

NORTH: LabelPairs = (("region", "north"),)


def scrape(worker: WorkerView, taken: float = 1000.0, window: str | None = None) -> Snapshot:
    return read(Exposition(KPIS).text(worker).decode(), taken, KPIS, window)


def evaluated(*samples: Sample) -> WorkerView:
    return WorkerView(
        evaluation=Evaluation(1, samples), evaluated_ms={sample.kpi: 1 for sample in samples}
    )


def alerting(*firing: bool) -> WorkerView:
    states = (AlertGauge(f"Rule{n}", "warning", NORTH, one) for n, one in enumerate(firing))
    return WorkerView(alerts=tuple(states))


def test_a_snapshot_has_the_samples_that_the_worker_evaluated() -> None:
    worker = view(KPIS)
    assert worker.evaluation is not None
    snapshot = scrape(worker)
    expected = {(s.kpi, s.labels): s for s in worker.evaluation.samples if s.window == "1h"}
    assert dict(snapshot.samples) == expected
    assert snapshot.windows == ("5m", "1h", "24h", "7d")
    assert snapshot.lag == sum(worker.lag.values())
    assert snapshot.outcomes["late"] == 3


@pytest.mark.parametrize(
    ("exposed", "asked", "shown"),
    [
        (("5m", "1h"), None, "1h"),
        (("24h", "5m"), None, "5m"),
        (("5m", "1h"), "5m", "5m"),
        (("7d",), "7d", "7d"),
    ],
)
def test_the_window_is_the_one_asked_for_or_the_usual_one(
    exposed: tuple[str, ...], asked: str | None, shown: str
) -> None:
    snapshot = scrape(evaluated(*(Sample("nps", w, (), 1.0) for w in exposed)), window=asked)
    assert snapshot.window == shown
    assert {sample.window for sample in snapshot.samples.values()} == {shown}


def test_a_window_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(NotExposed, match="window 2h is not exposed; the worker has 5m, 1h"):
        scrape(evaluated(*(Sample("nps", w, (), 1.0) for w in ("1h", "5m"))), window="2h")


@pytest.mark.parametrize("text", ["", "<html>hello</html>", "up 1\n", "\x00"])
def test_another_page_is_no_worker(text: str) -> None:
    with pytest.raises(NoWorker, match="is no cxkpi worker"):
        read(text, 0, KPIS)


def test_a_label_value_that_looks_like_a_window_is_none() -> None:
    labels = (("channel", 'a,window="5m"'),)
    snapshot = scrape(evaluated(Sample("nps", "1h", labels, 1.0), Sample("nps", "5m", (), 2.0)))
    assert list(snapshot.samples) == [("nps", labels)]


def test_alerts_change_between_snapshots_only() -> None:
    trends = Trends()
    assert trends.observe(scrape(alerting(True, False))) == []
    changes = trends.observe(scrape(alerting(False, True, True), 1002.0))
    assert [(c.alert[0], c.firing) for c in changes] == [
        ("Rule0", False),
        ("Rule1", True),
        ("Rule2", True),
    ]
    gone = trends.observe(scrape(alerting(False), 1004.0))
    assert [(c.alert[0], c.firing) for c in gone] == [("Rule1", False), ("Rule2", False)]
    assert trends.observe(scrape(alerting(False), 1006.0)) == []


def test_an_alert_that_goes_to_another_worker_with_its_topic_is_not_resolved() -> None:
    trends = Trends()
    firing, other = alerting(True, True), evaluated(Sample("csat", "1h", (), 0.5))
    trends.observe(scrape(msgspec.structs.replace(other, alerts=firing.alerts)))
    assert trends.observe(scrape(WorkerView(), 1002.0)) == []
    assert trends.observe(scrape(WorkerView(), 1004.0)) == []


def test_an_alert_that_fires_as_before_an_outage_has_not_changed() -> None:
    trends = Trends()
    topic = evaluated(Sample("csat", "1h", (), 0.5))
    before = msgspec.structs.replace(topic, alerts=alerting(True, True, False).alerts)
    after = msgspec.structs.replace(topic, alerts=alerting(True, False, True).alerts)
    trends.observe(scrape(before))
    for second in range(2):
        assert trends.observe(scrape(WorkerView(), 1002.0 + second)) == []
    changes = trends.observe(scrape(after, 1004.0))
    assert [(c.alert[0], c.firing) for c in changes] == [("Rule1", False), ("Rule2", True)]
    assert trends.observe(scrape(after, 1005.0)) == []


BOTH = evaluated(Sample("csat", "1h", (), 0.5), Sample("churn", "1h", (), 0.5))
ONE = evaluated(Sample("csat", "1h", (), 0.5))


def test_what_another_worker_shows_for_good_is_forgotten_and_the_rest_told_as_before() -> None:
    trends = Trends()
    trends.observe(scrape(msgspec.structs.replace(BOTH, alerts=alerting(True, True).alerts), 0.0))
    left = msgspec.structs.replace(ONE, alerts=alerting(True).alerts)
    for second in (1.0, 61.0, 62.0):
        assert trends.observe(scrape(left, second)) == []
    changes = trends.observe(scrape(ONE, 63.0))
    assert [(c.alert[0], c.firing) for c in changes] == [("Rule0", False)]


def test_topics_may_come_back_one_by_one_after_an_outage_of_any_length() -> None:
    trends = Trends()
    firing = msgspec.structs.replace(BOTH, alerts=alerting(True, True).alerts)
    trends.observe(scrape(firing, 0.0))
    for second in (1.0, 999.0):
        assert trends.observe(scrape(WorkerView(), second)) == []
    half = msgspec.structs.replace(ONE, alerts=alerting(True).alerts)
    # They have the whole minute after the end of each outage.
    for second in (1000.0, 1060.0):
        assert trends.observe(scrape(half, second)) == []
    assert trends.observe(scrape(WorkerView(), 1061.0)) == []
    for second in (1100.0, 1160.0):
        assert trends.observe(scrape(half, second)) == []
    assert trends.observe(scrape(firing, 1161.0)) == []


def test_the_topics_are_those_of_the_kpis_that_the_worker_evaluates() -> None:
    assert scrape(view(KPIS)).topics == {kpi.topic for kpi in KPIS.values()}
    one = scrape(evaluated(Sample("csat", "1h", (), None, numerator=0, denominator=0)))
    assert one.topics == {KPIS["csat"].topic}
    assert scrape(WorkerView()).topics == set()
    topic = KPIS["csat"].topic
    assert without_data(one, KPIS) == [kpi.id for kpi in KPIS.values() if kpi.topic == topic]


def test_the_time_of_the_kpis_is_that_of_the_oldest() -> None:
    times = {"csat": 5_000, "churn": 3_000, "nps": 4_000}
    worker = WorkerView(
        evaluation=Evaluation(1, tuple(Sample(kpi, "1h", (), 0.5) for kpi in times)),
        evaluated_ms=times,
    )
    assert scrape(worker).evaluated == 3.0
    assert scrape(WorkerView()).evaluated is None


@pytest.mark.parametrize(
    ("worker", "ready", "lag"),
    [
        (WorkerView(lag={("cx.cart", 0): 0}), False, None),
        (WorkerView(lag={("cx.cart", 0): 7}, ready=True), True, 7),
        (WorkerView(ready=True), True, None),
    ],
)
def test_a_worker_that_is_not_ready_has_no_lag(
    worker: WorkerView, ready: bool, lag: float | None
) -> None:
    snapshot = scrape(worker)
    assert (snapshot.ready, snapshot.lag) == (ready, lag)


def counted(accepted: int) -> WorkerView:
    return WorkerView(outcomes={("cx.cart", "accepted"): accepted, ("cx.cart", "late"): 5})


def test_rates_are_taken_over_the_latest_ten_seconds() -> None:
    trends = Trends()
    trends.observe(scrape(counted(1_000_000), 0.0))
    assert trends.rates() is None
    for second in range(1, 31):
        trends.observe(scrape(counted(1_000_000 + 100 * second), float(second)))
    assert trends.rates() == {"accepted": 100.0, "late": 0.0}


def test_rates_of_rare_looks_are_of_the_time_since_the_one_before() -> None:
    trends = Trends()
    for second, accepted in ((0.0, 0), (20.0, 100), (40.0, 2_100), (60.0, 3_100)):
        trends.observe(scrape(counted(accepted), second))
    assert trends.rates() == {"accepted": 50.0, "late": 0.0}


def test_rates_after_an_outage_are_of_the_time_since() -> None:
    trends = Trends()
    for second in range(3):
        trends.observe(scrape(WorkerView(), float(second)))
        assert trends.rates() is None, "nothing is known of what nobody shows"
    trends.observe(scrape(counted(1_000_250), 2.5))
    assert trends.rates() is None, "nor of what was shown once"
    for second in range(3, 6):
        trends.observe(scrape(counted(1_000_000 + 100 * second), float(second)))
    assert trends.rates() == {"accepted": 100.0, "late": 0.0}


def test_totals_that_began_anew_give_no_negative_rate() -> None:
    trends = Trends()
    trends.observe(scrape(counted(5000), 0.0))
    trends.observe(scrape(counted(10), 1.0))
    assert trends.rates() == {"accepted": 0.0, "late": 0.0}


def test_a_trend_has_a_gap_where_the_series_was_absent() -> None:
    trends = Trends()
    for number, value in enumerate((1.0, None, 3.0)):
        samples = [] if value is None else [Sample("nps", "1h", (), value)]
        trends.observe(scrape(evaluated(Sample("csat", "1h", (), 0.5), *samples), number))
    assert trends.trend(("nps", ())) == [1.0, None, 3.0]
    assert trends.trend(("csat", ())) == [0.5, 0.5, 0.5]


def test_a_series_is_forgotten_once_its_whole_trend_is_a_gap() -> None:
    trends = Trends()
    there, absent = (scrape(evaluated(Sample(kpi, "1h", (), 1.0))) for kpi in ("nps", "csat"))
    trends.observe(there)
    for _ in range(_TREND - 1):
        trends.observe(absent)
    assert trends.trend(("nps", ())) == [1.0, *[None] * (_TREND - 1)]
    trends.observe(absent)
    assert trends.trend(("nps", ())) == []
    assert trends.trend(("csat", ())) == [1.0] * _TREND


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 5, ""),
        ([None, None], 5, ""),
        ([1.0], 5, "▄"),
        ([2.0, 2.0], 5, "▄▄"),
        ([0.0, 1.0], 5, "▁█"),
        ([0.0, None, 7.0], 5, "▁ █"),
        ([9.0, 0.0, 1.0], 2, "▁█"),
        ([0.0, 1.0], 0, ""),
        ([-1.0, 0.0, 1.0], 3, "▁▅█"),
    ],
)
def test_a_sparkline_goes_from_the_least_to_the_greatest(
    values: list[float | None], width: int, line: str
) -> None:
    assert sparkline(values, width) == line


@given(st.lists(st.none() | st.floats(-1e300, 1e300), max_size=50), st.integers(0, 60))
def test_a_sparkline_fits_its_width(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) <= width
    assert sparkline(values, width, ascii_only=True).isascii()


def rated(kpi: str, labels: LabelPairs, value: float | None, half: float | None = None) -> Sample:
    if value is None or half is None:
        return Sample(kpi, "1h", labels, value)
    return Sample(kpi, "1h", labels, value, value - half, value + half)


def test_the_worst_segment_is_the_furthest_beyond_the_total_in_its_own_intervals() -> None:
    worker = evaluated(
        rated("csat", (), 0.8, 0.01),
        rated("csat", (("channel", "chat"),), 0.5, 0.3),
        rated("csat", NORTH, 0.7, 0.02),
        rated("csat", (("channel", "email"),), 0.95, 0.02),
        rated("art", (), 100.0),
        rated("art", (("channel", "chat"),), 300.0),
        rated("churn", (), 0.05, 0.01),
        rated("churn", NORTH, None),
    )
    worst = worst_segments(scrape(worker), KPIS)
    assert [(one.sample.kpi, one.sample.labels) for one in worst] == [
        ("csat", NORTH),
        ("art", (("channel", "chat"),)),
        ("csat", (("channel", "chat"),)),
    ]
    assert worst[0].worse == pytest.approx(5.0)


def test_a_part_of_a_count_is_no_worst_segment() -> None:
    worker = evaluated(
        rated("cart_recovered", (), 62.0),
        rated("cart_recovered", NORTH, 1.0),
        rated("retention", (), 0.9, 0.01),
        rated("retention", NORTH, 0.5, 0.01),
    )
    snapshot = read(Exposition(CATALOGUE).text(worker).decode(), 1000.0, CATALOGUE, None)
    worst = worst_segments(snapshot, CATALOGUE)
    assert [one.sample.kpi for one in worst] == ["retention"]


def test_segments_can_be_those_of_one_rollup() -> None:
    snapshot = scrape(view(KPIS))
    for by in (("channel",), ("region",), ("channel", "region")):
        found = worst_segments(snapshot, KPIS, by)
        assert found
        names = {
            tuple(n for n, _ in one.sample.labels if n not in {"currency", "quantile"})
            for one in found
        }
        assert names == {by}


def test_totals_stand_in_the_catalogues_order_with_each_currency() -> None:
    worker = evaluated(
        *(Sample("upsell", "1h", (("currency", c),), 0.1) for c in ("USD", "EUR")),
        Sample("nps", "1h", (), 1.0),
        Sample("nps", "1h", NORTH, 1.0),
    )
    assert [(s.kpi, s.labels) for s in totals(scrape(worker), KPIS)] == [
        ("nps", ()),
        ("upsell", (("currency", "EUR"),)),
        ("upsell", (("currency", "USD"),)),
    ]
