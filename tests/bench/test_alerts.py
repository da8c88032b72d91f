"""The claims of ``bench.alerts`` on a few days, and that its samples are those of the core."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import alert_looks, alerts
from bench.alert_days import RATE, Hit, blocks
from bench.alert_scores import OURS, PLAIN, RECOMMENDED, SURE, Score, best_plain, scores
from bench.alert_series import (
    EPOCH,
    FIVE_MINUTES,
    ONE_HOUR,
    STEP,
    STEPS_A_DAY,
    Counts,
    drawn,
    part,
    times,
    track,
)
from stream.backtest.rerun import rerun
from stream.core.evaluate import Evaluator
from stream.core.settings import DAY, HOUR, MINUTE, Rule, Settings
from stream.core.shard import Shard
from stream.core.timestamps import format_ms
from stream.core.values import Values

DAYS = 10
SEED = 3


@pytest.fixture(scope="module")
def found() -> dict[str, Score]:
    return scores(blocks(SEED, DAYS), (*OURS, *PLAIN))


def test_counts_make_the_samples_that_the_core_makes_of_such_events() -> None:
    rng = np.random.default_rng(SEED)
    steps = 2 * HOUR // STEP
    counts = drawn(rng, np.full(steps, 0.2), 0.3, steps)
    settings = Settings(windows=(FIVE_MINUTES, ONE_HOUR), rollups=((),), dimensions=())
    shard = Shard(settings, Values(settings), event_time=True)
    evaluator = Evaluator(settings)
    tracks = {w.label: track((), times(steps), counts, w) for w in settings.windows}
    looked = set(rng.choice(np.arange(1, steps), 40, replace=False).tolist())
    for step in range(steps):
        at = EPOCH + step * STEP
        if step in looked:
            shard.advance(at)
            shard.fold(at)
            made = evaluator.evaluate([shard.share()], at).samples
            seen = {s.window: s for s in made if s.kpi == "conversion"}
            assert seen.keys() == tracks.keys()
            for label, sample in seen.items():
                mine = tracks[label].sample(step)
                assert (mine.value, mine.lower, mine.upper) == (
                    *(sample.value, sample.lower, sample.upper),
                )
                assert (mine.numerator, mine.denominator) == (sample.numerator, sample.denominator)
        shard.ingest(None, visits(step, int(counts.n[step]), int(counts.bad[step])))


def visits(step: int, n: int, bad: int) -> list[bytes | None]:
    """So many events within a step, some of them with what is counted."""
    at = format_ms(EPOCH + step * STEP + 1)
    return [
        json.dumps(
            {
                "event_id": f"{step}-{i}",
                "type": "visit.ended",
                "visit_id": f"{step}-{i}",
                "occurred_at": at,
                "converted": i < bad,
            }
        ).encode()
        for i in range(n)
    ]


def test_every_second_day_has_an_incident_and_all_kinds_come(found: dict[str, Score]) -> None:
    hits = {id(p.hit): p.hit for p in found[SURE.name].pairs}.values()
    assert len(hits) == DAYS // 2
    days = {(hit.start - EPOCH) // DAY for hit in hits}
    assert len(days) == DAYS // 2
    assert {hit.size for hit in hits} == {1.5, 2.0, 4.0}


def test_what_clearly_clears_is_found_within_one_window(found: dict[str, Score]) -> None:
    for contender in (SURE, RECOMMENDED):
        sure = [p for p in found[contender.name].clear_pairs if p.margin >= 1]
        assert len(sure) >= 5
        assert all(p.in_time for p in sure)


def test_nothing_false_fires_where_the_rate_is_two_standard_errors_inside(
    found: dict[str, Score],
) -> None:
    for contender in (SURE, RECOMMENDED):
        assert found[contender.name].inside_days > 15
        assert found[contender.name].inside_false == 0


def test_the_recommended_rule_does_not_flap(found: dict[str, Score]) -> None:
    assert found[RECOMMENDED.name].flaps == 0


def test_a_plain_rule_as_fast_has_ten_times_the_false_alerts(found: dict[str, Score]) -> None:
    for contender in (SURE, RECOMMENDED):
        ours = found[contender.name]
        best = best_plain(found, ours)
        assert best is not None
        assert best[0].false >= 10 * max(1, ours.false)


def test_the_plain_rule_is_no_straw_man(found: dict[str, Score]) -> None:
    """It finds what is clear, and is faster where it may be."""
    plain = found[PLAIN[0].name]
    assert all(p.found is not None or p.was_firing for p in plain.clear_pairs)
    assert plain.delay is not None
    assert plain.delay < (found[SURE.name].delay or 0)


def test_the_same_seed_gives_the_same_days_and_another_one_others() -> None:
    one, again, other = (next(iter(blocks(seed, 1))) for seed in (1, 1, 2))
    for a, b, c in zip(one.series, again.series, other.series, strict=True):
        assert np.array_equal(a.seen.numerator, b.seen.numerator)
        assert not np.array_equal(a.seen.numerator, c.seen.numerator)


@pytest.mark.parametrize(
    ("shape", "minutes", "factor"),
    [
        ("step", -1, 1.0),
        ("step", 0, 2.0),
        ("step", 119, 2.0),
        ("step", 120, 1.0),
        ("ramp", 0, 1.0),
        ("ramp", 15, 1.5),
        ("ramp", 30, 2.0),
        ("ramp", 119, 2.0),
        ("ramp", 120, 1.0),
    ],
)
def test_an_incident_raises_the_bad_share_at_once_or_in_half_an_hour(
    shape: str, minutes: int, factor: float
) -> None:
    hit = Hit(2.0, "ramp" if shape == "ramp" else "step", False, None, EPOCH)
    assert hit.factor(np.array([EPOCH + minutes * MINUTE])).tolist() == [pytest.approx(factor)]


def test_an_incident_of_a_region_is_in_its_series_and_the_total() -> None:
    hit = Hit(2.0, "step", False, "small", EPOCH)
    assert [hit.affects(r) for r in (None, "small", "large")] == [True, True, False]
    assert replace(hit, region=None).affects("large")


def test_looking_every_five_seconds_fires_more_and_waiting_mends_it() -> None:
    rows = alert_looks.measure(SEED, series=1, days=20)
    short = {
        (row["for_ms"], row["evaluate_ms"]): row["alerts"]
        for row in rows
        if (row["window"], row["samples"], row["rule"]) == ("5m", 200, "significant")
    }
    assert short[0, STEP] >= short[0, MINUTE]
    assert short[0, STEP] > short[MINUTE, STEP]
    plain = [row["alerts"] for row in rows if row["rule"] == "threshold"]
    assert min(plain) > 100


def test_an_alert_needs_no_more_than_the_days_before_it() -> None:
    """A part of a track gives the same samples, so that a warm-up can be left out."""
    steps = STEPS_A_DAY
    counts = drawn(np.random.default_rng(SEED), np.full(steps, 1.0), RATE, steps)
    whole = track((), times(steps), counts, ONE_HOUR)
    late = part(whole, slice(steps // 2, None))
    rule = Rule("R", "conversion", "1h", above=RATE + 0.02)
    fired = [a.fired_at for a in rerun(rule, whole) if a.fired_at > late.at[0] + HOUR]
    assert fired
    assert set(fired) <= {a.fired_at for a in rerun(rule, late)}


def test_counts_add_up() -> None:
    one = Counts(np.array([1.0]), np.array([0.0]))
    both = one + Counts(np.array([2.0]), np.array([2.0]))
    assert (both.n.tolist(), both.bad.tolist()) == ([3.0], [2.0])


def test_the_page_tells_every_goal_and_rule(found: dict[str, Score]) -> None:
    figures = {
        "seed": SEED,
        "days": DAYS,
        "rules": [alerts._row(found[c.name], found) for c in OURS],
        "kinds": alerts._kinds([found[SURE.name]]),
        "series": alerts._series([found[SURE.name]]),
        "looks": alert_looks.measure(SEED, 1, 1),
    }
    page = alerts.page(json.loads(json.dumps(figures)))
    for goal in alerts.goals(figures):
        assert f"| {goal.text} | {goal.wanted} |" in page
    for contender in OURS:
        assert f"| {contender.name} |" in page


def test_the_page_that_is_kept_is_that_of_its_figures() -> None:
    figures = json.loads(alerts.RESULTS.with_suffix(".json").read_text())
    assert alerts.page(figures) == alerts.RESULTS.read_text()
