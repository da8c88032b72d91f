"""How often a rule is wrong by chance alone where the true rate is two standard errors inside.

Traffic and rate never change, and the threshold lies exactly two standard errors of a full window
above the rate: the worst that the goal allows, all the time. A rolling window is looked at again
and again, so one bad stretch has many chances; ``for`` asks whether it lasts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from bench import alert_series
from bench.alert_series import FIVE_MINUTES, ONE_HOUR, STEP, STEPS_A_DAY
from stream.backtest.judge import flaps
from stream.backtest.rerun import rerun
from stream.core.settings import MINUTE, SECOND, Rule, Window

RATE: Final = 0.12
WAITS: Final = (0, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE)
WINDOWS: Final = (FIVE_MINUTES, ONE_HOUR)
SAMPLES: Final = (60, 200, 1_000)


def measure(seed: int, series: int, days: int = 30) -> list[dict[str, Any]]:
    """False alerts for each window, number of events in it, rule and pace of evaluation."""
    rows = []
    for window in WINDOWS:
        for samples in SAMPLES:
            rows += _case(np.random.default_rng([seed, window.size_ms, samples]), window, samples,
                          series, days)  # fmt: skip
    return rows


def _case(
    rng: np.random.Generator, window: Window, samples: int, series: int, days: int
) -> list[dict[str, Any]]:
    limit = RATE + 2 * math.sqrt(RATE * (1 - RATE) / samples)
    base = Rule("R", "cart_abandonment", window.label, above=limit, min_samples=30)
    sure = replace(base, significant=True)
    rules = {("threshold", 0, STEP): base}
    rules |= {("significant", w, STEP): replace(sure, for_ms=w) for w in WAITS}
    rules |= {("significant", w, MINUTE): replace(sure, for_ms=w) for w in (0, MINUTE)}
    found = dict.fromkeys(rules, 0)
    flapping = dict.fromkeys(rules, 0)
    warm, steps = window.size_ms // STEP, days * STEPS_A_DAY
    a_step = np.full(warm + steps, samples * STEP / window.size_ms)
    for _ in range(series):
        counts = alert_series.drawn(rng, a_step, RATE, warm + steps)
        at = alert_series.times(warm + steps)
        whole = alert_series.track((), at, counts, window)
        for (kind, wait, every), rule in rules.items():
            alerts = rerun(rule, alert_series.part(whole, slice(warm, None, every // STEP)))
            found[kind, wait, every] += len(alerts)
            flapping[kind, wait, every] += len(flaps(alerts, window.size_ms))
    return [
        {
            "window": window.label,
            "samples": samples,
            "rule": kind,
            "for_ms": wait,
            "evaluate_ms": every,
            "series_days": series * days,
            "alerts": alerts,
            "per_30_days": 30 * alerts / (series * days),
            "flaps": flapping[kind, wait, every],
        }
        for (kind, wait, every), alerts in found.items()
    ]
