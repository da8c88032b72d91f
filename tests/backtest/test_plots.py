"""Whatever was recorded can be drawn: no value, one, the same for ever, or very large ones."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stream.backtest.curves import curve
from stream.backtest.incidents import Incident
from stream.backtest.judge import Found, judge
from stream.backtest.recording import Track
from stream.backtest.report import Detection, Report, RuleReport
from stream.backtest.rerun import rerun
from stream.backtest.screen import plot as text_plot
from stream.backtest.screen import show
from stream.backtest.svg import plot, time_line
from stream.core.catalogue import KPIS
from stream.core.settings import MINUTE, SECOND, Rule

RULE = Rule("R", "csat", "5m", below=0.5, min_samples=0)
WINDOW = 5 * MINUTE

numbers = st.one_of(
    st.just(float("nan")),
    st.sampled_from([0.0, 0.5, 1.0, -1e12, 1e12, 1e-9, 0.1 + 0.2, 0.3]),
    st.floats(-1, 1),
)
rows = st.lists(st.tuples(*[numbers] * 4), min_size=1, max_size=80)


def of_rule(columns: list[tuple[float, ...]]) -> RuleReport:
    value, lower, upper, n = (np.array(c, dtype=float) for c in zip(*columns, strict=True))
    at = np.arange(len(value), dtype=np.int64) * 5 * SECOND
    usual, covered = np.full(len(value), np.nan), np.ones(len(value))
    track = Track((), at, value, lower, upper, value, n, usual, covered)
    alerts = rerun(RULE, track)
    verdict = judge(RULE, WINDOW, alerts, None, (0, int(at[-1])), 1)
    worst = [None] * len(alerts)
    return RuleReport(RULE, KPIS["csat"], WINDOW, [track], verdict, worst, 0, [], None)


@given(rows, st.integers(1, 200))
def test_a_curve_keeps_least_and_most_and_its_range_holds_all_values(
    columns: list[tuple[float, ...]], slices: int
) -> None:
    rule = of_rule(columns)
    track = rule.tracks[0]
    drawn = curve(rule, track, (0, int(track.at[-1])), slices)
    known = track.value[~np.isnan(track.value)]
    assert drawn.bottom < drawn.top
    if known.size:
        assert np.nanmin(drawn.low) == known.min() >= drawn.bottom
        assert np.nanmax(drawn.high) == known.max() <= drawn.top


@given(rows)
def test_everything_can_be_drawn(columns: list[tuple[float, ...]]) -> None:
    rule = of_rule(columns)
    track = rule.tracks[0]
    span = (0, int(track.at[-1]))
    report = Report(span, len(track.at), [rule], None)
    named = [("alert", a.fired_at, a.lasts_until(span[1])) for a in rule.verdict.alerts]
    drawn = plot("R", "", curve(rule, track, span, 100), span, named, named, str)
    assert not re.search(r"nan|inf", drawn)
    assert drawn.count("<text") < 40
    assert not re.search(r"nan|inf", time_line([("R", named)], named, span, ""))
    lines = text_plot(report, rule, track, 60).plain.splitlines()
    assert max(map(len, lines[2:])) <= 60
    show(report, Console(width=80, quiet=True))


@pytest.mark.parametrize(("width", "has_until"), [(70, False), (200, True)])
def test_a_narrow_terminal_is_shown_fewer_columns_and_no_broken_time(
    width: int, has_until: bool
) -> None:
    rule = of_rule([(0.3, 0.2, 0.4, 9.0), (0.9, 0.8, 1.0, 9.0)] * 3)
    incident = Incident("support outage", 0, 10 * SECOND, "csat", {"region": "eu"})
    report = Report((0, 30 * SECOND), 6, [rule], [Detection(incident, [], True, True)])
    file = io.StringIO()
    show(report, Console(file=file, width=width))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith(" 1970-01-01 00:00:") for line in lines) == 3
    assert ("until" in file.getvalue()) == has_until


def test_eighty_columns_break_no_name_of_a_kpi() -> None:
    rule = of_rule([(0.3, 0.2, 0.4, 9.0), (0.9, 0.8, 1.0, 9.0)] * 3)
    incidents = [Incident("cancellations", 0, 10 * SECOND, kpi, {"region": "eu"}) for kpi in KPIS]
    alert = replace(rule.verdict.alerts[0], rule="CheckoutBroken")
    found = [Detection(i, [Found(i, alert, 32 * MINUTE)], True, True) for i in incidents]
    report = Report((0, 30 * SECOND), 6, [rule], found)
    file = io.StringIO()
    show(report, Console(file=file, width=80))
    shown = file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for kpi in KPIS:
        assert re.search(rf"\b{kpi}\b", shown)
