"""Health scores are exact, and so are their sums, or they are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import permutations
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.cells import SUM_LIMIT, CounterOverflow
from stream.core.formulas import FIXED, fixed
from stream.core.health import HealthSums, health_columns, summed_scores
from stream.core.integers import NO_INTS
from stream.core.settings import MINUTE, SECOND, Settings
from stream.core.shard import Shard
from stream.core.signals import Scores, scores_of, whole_weights
from stream.core.state import StateLog
from stream.core.topics.signal import MAX_SIGNALS
from stream.core.values import Values
from tests.core.running import samples
from tests.reference.streams import NOON, text

HALF = SUM_LIMIT // 2
#: Here one customer has it; it is what 23 million have together who score 100 each.
SCORE = HALF / FIXED
#: The largest value of a signal, in fixed point.
MOST = 100 * FIXED


def parts(*sums: int) -> list[HealthSums]:
    """What shards say of two series."""
    one, none = np.array([1]), np.array([0])
    return [HealthSums(one, np.array([s]), one, none) for s in sums]


def test_a_sum_of_scores_is_exact_as_long_as_it_is_within_the_range() -> None:
    found = health_columns(parts(HALF, HALF - 2**20), 2)
    assert found["health_sum"].tolist() == [0, SUM_LIMIT - 2**20]
    assert found["customers"].tolist() == [0, 2]


@pytest.mark.parametrize(
    "sums", [(HALF, HALF), (HALF,) * 4, (HALF,) * 8, (SUM_LIMIT - 1, SUM_LIMIT - 1)]
)
def test_shards_whose_sums_of_scores_are_too_large_together_are_refused(
    sums: tuple[int, ...],
) -> None:
    """Four halves would be a sum below zero, eight of them none at all."""
    with pytest.raises(CounterOverflow):
        health_columns(parts(*sums), 2)


def of_scores(*scores: float) -> Scores:
    """Customers of one series."""
    fixed = np.array([int(score * FIXED) for score in scores], dtype=np.int64)
    return Scores(np.zeros(fixed.size, dtype=np.int64), fixed, fixed < 40 * FIXED)


def test_customers_of_a_shard_whose_sum_of_scores_is_too_large_are_refused() -> None:
    assert summed_scores(of_scores(SCORE, SCORE / 2)).scores > HALF
    with pytest.raises(CounterOverflow):
        summed_scores(of_scores(SCORE, SCORE))


def test_where_nobody_has_a_score_there_is_no_sum() -> None:
    found = summed_scores(of_scores())
    assert [column.size for column in found] == [0, 0, 0, 0]
    assert health_columns([], 1)["health_sum"].tolist() == [0]


WEIGHTS = st.one_of(
    st.just(1.0),
    st.integers(1, 1_000_000).map(float),
    st.integers(1, 10**15).map(lambda n: n / 10**9),
)
VALUES = st.one_of(
    st.integers(0, 100).map(float),
    st.integers(0, 100 * FIXED).map(lambda n: n / FIXED),
)


@given(st.lists(st.tuples(st.integers(0, 3), WEIGHTS, VALUES), max_size=64), st.randoms())
def test_a_score_is_the_weighted_mean_rounded_once_whatever_the_order(
    signals: list[tuple[int, float, float]], random: Random
) -> None:
    """Decimals count up to the ninth."""
    weights = {f"{n}": weight for n, (_, weight, _) in enumerate(signals)}
    whole, usual = whole_weights(weights)
    entries = [(c, whole[f"{n}"], fixed(v)) for n, (c, _, v) in enumerate(signals)]
    random.shuffle(entries)
    columns = [np.array(c, dtype=np.int64) for c in zip(*entries, strict=True)] or [NO_INTS] * 3
    scores, at_risk = scores_of(*columns)
    for customer in {c for c, _, _ in signals}:
        own = [(fixed(w), fixed(v)) for c, w, v in signals if c == customer]
        exact = Fraction(sum(w * v for w, v in own), sum(w for w, _ in own))
        assert scores[customer] == round(exact)
        assert at_risk[customer] == (exact < 40 * FIXED)
    assert all(Fraction(whole[n], usual) == Fraction(fixed(w), FIXED) for n, w in weights.items())


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ({}, ({}, 1)),
        ({"a": 2.0, "b": 0.0}, ({"a": 2, "b": 0}, 1)),
        ({"a": 0.1, "b": 3.0}, ({"a": 1, "b": 30}, 10)),
        ({"a": 4.0, "b": 1_000_000.0}, ({"a": 4, "b": 1_000_000}, 1)),
        ({"a": 1e-12, "b": 0.000_000_002}, ({"a": 1, "b": 2}, FIXED)),
    ],
)
def test_weights_are_whole_numbers_in_their_ratio_and_none_becomes_0(
    weights: Mapping[str, float], found: tuple[dict[str, int], int]
) -> None:
    assert whole_weights(weights) == found


def test_as_many_signals_of_the_largest_weights_as_a_customer_has_are_no_more_than_fits() -> None:
    weights = np.full(MAX_SIGNALS, 10**15 - 1)
    scores, at_risk = scores_of(np.zeros(MAX_SIGNALS, dtype=np.int64), weights, weights * 0 + MOST)
    assert (scores.tolist(), at_risk.tolist()) == ([MOST], [False])


#: Added up as floats, in some orders these are 160 and in others a little less.
NEAR_40: Mapping[str, float] = {
    "a": 23.961014511,
    "b": 43.656372486,
    "c": 24.176968914,
    "d": 68.205644087,
}
CORE = Settings(rollups=((),))


def said(order: Sequence[str], ages: Sequence[int]) -> list[bytes]:
    return [
        json.dumps(
            {
                "event_id": name,
                "type": "customer.signal",
                "customer_id": "c",
                "signal": name,
                "value": NEAR_40[name],
                "occurred_at": text(NOON - age * 10 * MINUTE - SECOND),
            }
        ).encode()
        for name, age in zip(order, ages, strict=True)
    ]


def health_of(shard: Shard) -> list[Any]:
    return [(s.kpi, s.numerator) for s in samples(CORE, [shard], NOON) if s.window == "1h"]


def test_a_score_is_the_same_in_whatever_order_signals_came_and_after_a_restart() -> None:
    """A sum of 159.999999998 is half a unit below 40 times 4: the even number is 40."""
    assert sum(map(fixed, NEAR_40.values())) == 160 * FIXED - 2
    for order in permutations(NEAR_40):
        shard = Shard(CORE, Values(CORE))
        assert not shard.ingest("cx.signal", said(order, (1, 3, 0, 2)), NOON)
        assert health_of(shard) == [("health", 40.0), ("at_risk", 1.0)]
        records = {k: v for k, v in StateLog(shard).flush(NOON) if v is not None}
        recovered = Shard(CORE, Values(CORE))
        StateLog(recovered).recover(records)
        assert health_of(recovered) == [("health", 40.0), ("at_risk", 1.0)]
