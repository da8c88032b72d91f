"""What the view draws, and that it fits."""

import io
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from stream.core.catalogue import KPIS
from stream.core.event import OUTCOMES
from stream.core.kpi import Kpi
from stream.core.series import Evaluation, Sample
from stream.metrics.exposition import Exposition
from stream.metrics.view import AlertGauge, Timing, WorkerView
from stream.top.numbers import count, duration, interval, number
from stream.top.screen import Screen, clock
from stream.top.snapshot import read
from stream.top.trends import Trends
from tests.metrics.views import view


def screen(*workers: WorkerView, kpis: dict[str, Kpi] = KPIS) -> Screen:
    trends = Trends()
    for second, worker in enumerate(workers):
        text = Exposition(kpis).text(worker).decode()
        trends.observe(read(text, 1_790_000_000.0 + second, kpis))
    return Screen("http://127.0.0.1:9464", trends, kpis, None)


def text(drawn: Screen, width: int, height: int | None) -> str:
    return "\n".join(line.plain for line in drawn.lines(width, height))


def test_a_small_terminal_shows_every_kpi_the_alerts_and_the_worst_segments() -> None:
    shown = text(screen(view(KPIS), view(KPIS, shift=0.1)), 80, 24)
    for kpi in KPIS:
        assert kpi in shown
    assert "ChurnSpike region=north firing" in shown
    assert "region=south" in shown
    assert "events" in shown
    assert "lag 360" in shown


def test_a_wide_terminal_shows_titles_bounds_counts_and_trends() -> None:
    shown = text(screen(*(view(KPIS, shift=s / 10) for s in range(4))), 150, 45)
    line = next(line for line in shown.splitlines() if line.startswith("Customer satisfaction"))
    assert "60.0%" in line
    assert "50…70" in line
    assert "100" in line
    assert "▁▃▆█" in line


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_worst_segments_of_two_currencies_can_be_told_apart(width: int) -> None:
    samples = (
        Sample("upsell", "1h", (*labels, ("currency", currency)), value)
        for currency in ("EUR", "SGD")
        for labels, value in (((), 0.2), ((("channel", "web chat"),), 0.1))
    )
    shown = text(screen(WorkerView(evaluation=Evaluation(1, tuple(samples)))), width, None)
    for currency in ("EUR", "SGD"):
        assert "channel=web c" in shown
        assert f" upsell {currency} " in shown.partition("Worst segments")[2]


def test_alert_changes_are_told_with_their_time() -> None:
    shown = text(screen(view(KPIS, firing=False), view(KPIS), view(KPIS, firing=False)), 120, 40)
    assert f"{clock(1_790_000_001)} ChurnSpike region=north firing" in shown
    assert "ChurnSpike region=north resolved" in shown


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 220), st.integers(1, 70))
def test_the_picture_fits_any_terminal(width: int, height: int) -> None:
    for drawn in (_PICTURE, screen()):
        lines = drawn.lines(width, height)
        assert len(lines) <= height
        assert all(line.cell_len <= width for line in lines)


_PICTURE = screen(view(KPIS), view(KPIS, shift=0.2))


def test_a_terminal_without_unicode_gets_ascii() -> None:
    lines = screen(view(KPIS), view(KPIS, shift=0.2)).lines(80, 24, ascii_only=True)
    assert all(line.plain.isascii() for line in lines)


def test_label_values_cannot_command_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;title\x07\r\n\u202e"
    labels = (("channel", evil),)
    samples = (Sample("csat", "1h", (), 0.8, 0.7, 0.9), Sample("csat", "1h", labels, 0.1, 0.0, 0.2))
    worker = WorkerView(
        evaluation=Evaluation(1, samples),
        alerts=(AlertGauge(evil, evil, labels, firing=True),),
        outcomes={("cx.cart", evil): 1},
    )
    drawn = screen(worker)
    for line in drawn.lines(200, None):
        assert line.plain.isprintable()
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, color_system=None, width=200, height=40)
    console.print(drawn)
    assert "\x1b[2J" not in output.getvalue()
    assert "\x07" not in output.getvalue()


def test_colours_are_for_terminals_alone() -> None:
    for terminal in (True, False):
        output = io.StringIO()
        Console(file=output, force_terminal=terminal, width=120, height=40).print(
            screen(view(KPIS))
        )
        assert ("\x1b[" in output.getvalue()) == terminal


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_all_that_comes_in_and_how_the_worker_does_can_be_read_in_a_narrow_terminal(
    width: int,
) -> None:
    outcomes = {("cx.visit", outcome): 123_456 // n**3 for n, outcome in enumerate(OUTCOMES, 1)}
    took = Timing(9, 9.0, 0.025)
    workers = (
        msgspec.structs.replace(view(KPIS), outcomes=outcomes, flush=took, evaluated=took),
        msgspec.structs.replace(
            view(KPIS), outcomes=outcomes | {("cx.visit", "future"): 9_999}, evaluated=took,
            flush=took,
        ),
    )  # fmt: skip
    drawn = screen(*workers).lines(width, 24)
    shown = [line.plain for line in drawn[1:5]]
    flow = shown[: next(n for n, line in enumerate(shown) if line.startswith("KPI"))]
    words = [part for line in flow for part in line.strip().split(" · ")]
    assert {part.split(" ")[0] for part in words} == {"events", "lag", "flush", "eval", *OUTCOMES}
    assert "future 9,999" in words
    assert "…" not in "".join(flow)
    (red,) = {
        line.plain[span.start : span.end] for line in drawn for span in line.spans
        if span.style == "red" and line.plain[span.start : span.end].startswith("future")
    }  # fmt: skip
    assert red == "future 9,999"
    assert len(flow) == {60: 3, 80: 2, 100: 2, 200: 1}[width]


@pytest.mark.parametrize(
    ("drawn", "state"), [(screen(view(KPIS)), "ready"), (screen(WorkerView()), "not ready")]
)
def test_a_narrow_terminal_shows_the_state_first(drawn: Screen, state: str) -> None:
    assert f" · {state} · " in text(drawn, 40, 24).splitlines()[0]


def test_a_worker_that_cannot_be_reached_is_not_said_to_be_ready_nor_its_page_to_be_new() -> None:
    drawn = screen(view(KPIS))
    assert "s ago)" in text(drawn, 120, 24).splitlines()[0]
    drawn.problem = "it can't be reached"
    header = text(drawn, 120, 24).splitlines()[0]
    assert "ready" not in header
    assert " · as of " in header
    assert "ago" not in header


def test_a_worker_without_kpis_is_said_to_have_none() -> None:
    shown = text(screen(WorkerView()), 80, 24)
    assert "not ready" in shown
    assert "no KPI is exposed" in shown


def test_the_screen_says_why_a_worker_is_not_ready() -> None:
    drawn = screen(WorkerView(lag={("cx.cart", 0): 0}))
    latest = drawn._trends.latest
    assert latest is not None
    drawn._trends.observe(replace(latest, reason="no broker answers\x1b"))
    lines = text(drawn, 80, 24).splitlines()
    assert any(line.startswith("not ready: no broker answers") for line in lines)
    assert not any("lag" in line or "this worker" in line for line in lines)


@pytest.mark.parametrize(
    ("worker", "alerts", "caution"),
    [
        (
            WorkerView(
                evaluation=Evaluation(1, (Sample("csat", "1h", (), 0.8),)),
                evaluated_ms={"csat": 1},
                ready=True,
            ),
            "Alerts: none known here",
            "this worker shows cx.survey; for the others see the other workers",
        ),
        (msgspec.structs.replace(view(KPIS), alerts=()), "Alerts: none firing", None),
        (view(KPIS), "Alerts: 1 firing of 3 known", None),
    ],
)
def test_none_fires_only_where_the_worker_shows_all_topics(
    worker: WorkerView, alerts: str, caution: str | None
) -> None:
    lines = text(screen(worker), 80, None).splitlines()
    assert alerts in lines
    assert [line for line in lines if "this worker" in line] == (
        [] if caution is None else [caution]
    )


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "ratio", "–"),
        (0.6735, "ratio", "67.3%"),
        (0.0923, "ratio", "9.23%"),
        (0.000812, "ratio", "0.081%"),
        (1.0, "ratio", "100.0%"),
        (322.6, "seconds", "5m 23s"),
        (0.25, "seconds", "0.2 s"),
        (7200.0, "seconds", "2h 00m"),
        (259200.0, "seconds", "3.0 d"),
        (30.0, "points", "30.0"),
        (-6.6, "points", "-6.60"),
        (1234.0, "carts", "1,234"),
        (2.5, "pages", "2.50"),
        (1234.5, "currency", "1,234.5"),
    ],
)
def test_values_are_told_in_their_unit(value: float | None, unit: str, shown: str) -> None:
    assert number(value, unit) == shown


@pytest.mark.parametrize(
    ("value", "width", "shown"),
    [
        (1_234.5, 7, "1,234.5"),
        (123_456.7, 9, "123,456.7"),
        (123_456.7, 7, "123,457"),
        (999_950.0, 7, "999,950"),
        (1_234_567.8, 9, "1,234,568"),
        (1_234_567.8, 7, "1.23M"),
        (999_999_999.0, 7, "1.00G"),
        (-1_234_567.8, 7, "-1.23M"),
        (987_654_321_000.0, 5, "988G"),
    ],
)
def test_an_amount_grows_shorter_rather_than_being_cut(
    value: float, width: int, shown: str
) -> None:
    assert number(value, "currency", width) == shown


@pytest.mark.parametrize("width", [80, 120])
def test_no_amount_is_cut(width: int) -> None:
    large = view(KPIS)
    assert large.evaluation is not None
    samples = tuple(
        msgspec.structs.replace(s, value=98_765_432.1, denominator=98_765_432)
        if s.kpi == "clv"
        else s
        for s in large.evaluation.samples
    )
    evaluation = msgspec.structs.replace(large.evaluation, samples=samples)
    shown = text(screen(msgspec.structs.replace(large, evaluation=evaluation)), width, None)
    (line, *_) = [row for row in shown.splitlines() if KPIS["clv"].title in row]
    assert "98.77M" in line.split()
    assert "…" not in line


@pytest.mark.parametrize(
    ("lower", "upper", "unit", "width", "shown"),
    [
        (0.685, 0.822, "ratio", 13, "68.5…82.2"),
        (-6.6, 100.0, "points", 9, "-6.6…100"),
        (-22.94, 17.46, "points", 9, "-23…17"),
        (-0.04, 0.04, "points", 9, "0…0"),
        (0.000812, 0.00112, "ratio", 13, "0.081…0.112"),
        (0.000812, 0.00112, "ratio", 9, "0.08…0.11"),
        (0.0123, 0.0456, "ratio", 9, "1.23…4.56"),
        (0.0, 0.0, "ratio", 9, "0…0"),
        (None, None, "ratio", 9, ""),
    ],
)
def test_bounds_lose_decimals_before_they_lose_digits(
    lower: float | None, upper: float | None, unit: str, width: int, shown: str
) -> None:
    assert interval(lower, upper, unit, width) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0021, "2.1 ms"),
        (0.013, "13 ms"),
        (0.0996, "0.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1m 00s"),
        (479.7, "8m 00s"),
        (3599.6, "1h 00m"),
        (7199.0, "1h 59m"),
        (200_000.0, "2.3 d"),
        (999.96 * 86_400, "1,000 d"),
    ],
)
def test_durations_have_two_units_that_never_reach_the_next(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_counts_grow_shorter_as_they_grow() -> None:
    assert [count(n) for n in (999, 1_234_567, 12_345_678)] == ["999", "1,234,567", "12,346k"]
    assert [count(n, 7) for n in (999, 123_456, 1_234_567)] == ["999", "123,456", "1.23M"]
