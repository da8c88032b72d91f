"""The catalogue has every KPI that was promised, each as one entry with all that it takes."""

from __future__ import annotations

import re

import pytest

from stream.core.catalogue import KPIS, TOPICS
from stream.core.kpi import Kpi
from stream.core.series import kpi_of, rollup_of
from stream.core.settings import Settings

#: Gauge, bounds, further labels, and whether there are numerator and denominator.
PROMISED: dict[str, tuple[str, str | None, tuple[str, ...], bool]] = {
    "nps": ("cx_nps", "adjusted Wald", (), True),
    "csat": ("cx_csat_ratio", "Wilson", (), True),
    "ces": ("cx_ces_ratio", "Wilson", (), True),
    "ces_mean": ("cx_ces_mean", None, (), True),
    "css": ("cx_css_ratio", "Wilson", (), True),
    "nev": ("cx_nev", None, (), False),
    "sentiment": ("cx_sentiment", None, (), True),
    "art": ("cx_art_seconds", None, (), True),
    "fcr": ("cx_fcr_ratio", "Wilson", (), True),
    "rapid_response": ("cx_rapid_response_ratio", "Wilson", (), True),
    "rapid_resolution": ("cx_rapid_resolution_ratio", "Wilson", (), True),
    "automation": ("cx_automation_ratio", "Wilson", (), True),
    "cart_abandonment": ("cx_cart_abandonment_ratio", "Wilson", (), True),
    "cart_recovered": ("cx_cart_recovered", None, (), False),
    "churn": ("cx_churn_ratio", "Wilson", (), True),
    "retention": ("cx_retention_ratio", "Wilson", (), True),
    "upsell": ("cx_upsell_ratio", None, ("currency",), True),
    "clv": ("cx_clv", None, ("currency",), False),
    "conversion": ("cx_conversion_ratio", "Wilson", (), True),
    "acquisition": ("cx_acquisition_ratio", "Wilson", (), True),
    "pages_per_visit": ("cx_pages_per_visit", None, (), True),
    "health": ("cx_health", None, (), True),
    "at_risk": ("cx_at_risk_ratio", "Wilson", (), True),
}
UNITS = {"ratio", "points", "seconds", "carts", "currency", "pages"}


def test_the_catalogue_is_what_was_promised() -> None:
    found = {
        kpi.id: (
            kpi.gauge,
            kpi.bounds and kpi.bounds.short,
            kpi.labels,
            kpi.denominator is not None,
        )
        for kpi in KPIS.values()
    }
    assert found == PROMISED
    assert {k.id: k.quantile_gauge for k in KPIS.values() if k.quantile_gauge is not None} == {
        "art": "cx_art_quantile_seconds"
    }


def test_no_two_entries_share_an_id_or_a_gauge() -> None:
    entries = [kpi for topic in TOPICS.values() for kpi in topic.kpis]
    assert len({kpi.id for kpi in entries}) == len(entries)
    assert len({kpi.gauge for kpi in entries}) == len(entries)
    assert all(kpi_of(kpi.id) == kpi.id for kpi in entries)


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
def test_an_entry_says_what_it_is(kpi: Kpi) -> None:
    assert kpi.title
    assert kpi.title[0].isupper()
    assert re.fullmatch(r"[A-Z].*\.", kpi.help)
    assert kpi.formula
    assert kpi.unit in UNITS
    assert kpi.good in {"up", "down"}
    # The name of the gauge says its unit, as Prometheus has it.
    assert (kpi.unit == "ratio") == kpi.gauge.endswith("_ratio")
    assert (kpi.unit == "seconds") == kpi.gauge.endswith("_seconds")
    # A ratio can be no other than 0 to 1 but where its sides are counted at different times.
    if kpi.unit == "ratio":
        assert (kpi.lowest, kpi.highest) == (0.0, 1.0) or kpi.id in {"churn", "retention"}


@pytest.mark.parametrize("kpi", KPIS.values(), ids=KPIS)
@pytest.mark.parametrize("rollup", Settings().rollups, ids="+".join)
def test_the_rollup_of_a_series_is_its_labels_without_those_of_the_kpi(
    kpi: Kpi, rollup: tuple[str, ...]
) -> None:
    own = (*kpi.labels, *(["quantile"] if kpi.quantile_gauge else []))
    labels = tuple(sorted((name, "some") for name in (*rollup, *own)))
    assert rollup_of(labels) == tuple(sorted(rollup))
