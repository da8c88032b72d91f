"""Views of workers that never were: plausible values for every KPI of a catalogue."""

from collections.abc import Iterator, Mapping

from stream.core.kpi import Kpi
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.metrics.view import AlertGauge, Timing, WorkerView

#: The rollups of the default configuration: total, channel, region, both.
SERIES: tuple[LabelPairs, ...] = (
    (),
    *(((("channel", channel),)) for channel in ("chat", "email", "phone")),
    *(((("region", region),)) for region in ("north", "south")),
    *(
        (("channel", channel), ("region", region))
        for channel in ("chat", "email", "phone")
        for region in ("north", "south")
    ),
)
WINDOWS = ("5m", "1h", "24h", "7d")


def _between(kpi: Kpi, part: float) -> float:
    """A value of the KPI: ``part`` of the way from its lowest to its highest."""
    low = 0.0 if kpi.lowest is None else kpi.lowest
    high = (1.0 if kpi.unit == "ratio" else low + 1000.0) if kpi.highest is None else kpi.highest
    return low + part * (high - low)


def samples(
    kpis: Mapping[str, Kpi],
    windows: tuple[str, ...] = WINDOWS,
    series: tuple[LabelPairs, ...] = SERIES,
    shift: float = 0.0,
) -> Iterator[Sample]:
    """One sample for each KPI, window and series; ``shift`` moves all values (0 to 0.4)."""
    for kpi in kpis.values():
        bounds = kpi.bounds is not None
        fraction = kpi.denominator is not None
        for window in windows:
            for number, labels in enumerate(series):
                part = 0.3 + shift + 0.2 * number / len(series)
                labelled = tuple(sorted((*labels, *((name, "EUR") for name in kpi.labels))))
                yield Sample(
                    kpi=kpi.id,
                    window=window,
                    labels=labelled,
                    value=_between(kpi, part),
                    lower=_between(kpi, part - 0.1) if bounds else None,
                    upper=_between(kpi, part + 0.1) if bounds else None,
                    numerator=100.0 * part if fraction else None,
                    denominator=100.0 if fraction else None,
                )
                if kpi.quantile_gauge is not None:
                    for quantile, factor in (("0.5", 0.8), ("0.9", 1.5), ("0.99", 2.0)):
                        yield Sample(
                            kpi=f"{kpi.id}_quantile",
                            window=window,
                            labels=tuple(sorted((*labelled, ("quantile", quantile)))),
                            value=_between(kpi, part) * factor,
                        )


def view(
    kpis: Mapping[str, Kpi],
    at: int = 1_790_000_000_000,
    *,
    windows: tuple[str, ...] = WINDOWS,
    series: tuple[LabelPairs, ...] = SERIES,
    shift: float = 0.0,
    firing: bool = True,
    accepted: int = 123_456,
) -> WorkerView:
    """A healthy worker with a value for all that can be shown."""
    topics = ("cx.survey", "cx.ticket", "cx.cart", "cx.subscription", "cx.visit", "cx.signal")
    outcomes = {(topic, "accepted"): accepted for topic in topics}
    outcomes |= {("cx.survey", "invalid"): 12, ("cx.cart", "late"): 3, ("cx.cart", "duplicate"): 40}
    return WorkerView(
        evaluation=Evaluation(at, tuple(samples(kpis, windows, series, shift))),
        evaluated_ms=dict.fromkeys(kpis, at),
        outcomes=outcomes,
        last_event_ms=dict.fromkeys(topics, at - 1500),
        benchmarks={
            (kpi.id, industry): _between(kpi, part)
            for kpi in kpis.values()
            if kpi.comparable != "never"
            for industry, part in (("retail", 0.4), ("insurance", 0.6))
        },
        covered={"5m": 1.0, "1h": 1.0, "24h": 0.25, "7d": 0.03},
        alerts=(
            AlertGauge("ChurnSpike", "critical", (("region", "north"),), firing),
            AlertGauge("ChurnSpike", "critical", (("region", "south"),), firing=False),
            AlertGauge("LowCsat", "warning", (), firing=False),
        ),
        ready=True,
        lag={(topic, partition): partition * 10 for topic in topics for partition in range(4)},
        flush=Timing(accepted, accepted / 80, 0.013),
        flush_failures=1,
        evaluated=Timing(accepted, accepted / 400, 0.0021),
        rule_evaluations_skipped={"cx.visit": 0},
        recovery=Timing(4, 2.0, 0.4),
        shards=4,
        dead_letters={"cx.survey": 12},
        segments=6,
        most_segments=4,
        remembered={"tickets": 1000, "carts": 20},
        forgotten={"tickets": 0},
        gaps={"cx.visit": 0},
        damaged_shares={"cx.visit": 0},
        refused_bases=2,
        without_room=5,
        notifications={("log", "sent"): 3, ("webhook", "retried"): 1},
    )
