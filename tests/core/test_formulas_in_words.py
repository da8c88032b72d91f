"""The catalogue's formulas as people read them, held against what the code works out."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS, LAYOUT, TOPICS, UNITS
from stream.core.cells import SUM_LIMIT
from stream.core.formulas import roomy
from stream.core.kpi import DERIVED, Term
from stream.core.worked import evaluated, worked


@pytest.mark.parametrize("kpi", KPIS)
def test_a_formula_has_nothing_but_numbers_signs_and_terms(kpi: str) -> None:
    said = []

    def strike_out(term: Term) -> str:
        said.append(term)
        return ""

    left = KPIS[kpi].formula_with(strike_out)
    assert re.fullmatch(r"[0-9 +−·/()]*", left), left
    assert set(said) == set(KPIS[kpi].terms)


@pytest.mark.parametrize("kpi", KPIS)
def test_a_term_is_a_counter_of_the_topic_or_a_derived_column(kpi: str) -> None:
    counters = {counter.name for counter in TOPICS[KPIS[kpi].topic].counters}
    assert {term.column for term in KPIS[kpi].terms} <= counters | set(DERIVED)


@pytest.mark.parametrize("kpi", KPIS)
@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([10**3, 10**9, 2**53, SUM_LIMIT]))
def test_a_formula_with_its_numbers_put_in_is_the_value_but_for_one_rounding(
    kpi: str, data: st.DataObject, most: int
) -> None:
    stored = {name: data.draw(st.integers(1, most), label=name) for name in _columns_of(kpi)}
    numbers = {name: Fraction(n, UNITS[name]) for name, n in stored.items()}
    text = KPIS[kpi].formula_with(lambda term: repr(numbers[term.column]))
    said = eval(text.replace("−", "-").replace("·", "*"))
    columns = {name: roomy(np.array([n])) for name, n in stored.items()}
    assert evaluated(KPIS[kpi], columns)[0].tolist() == [float(said)]


@pytest.mark.parametrize("kpi", KPIS)
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_numbers_in_units_give_what_the_sums_give_that_are_stored(
    kpi: str, data: st.DataObject
) -> None:
    stored = {name: data.draw(st.integers(0, 10**15), label=name) for name in _columns_of(kpi)}
    columns = {name: roomy(np.array([n])) for name, n in stored.items()}
    from_sums = [None if c is None else c[0] for c in evaluated(KPIS[kpi], columns)]
    from_units = worked(KPIS[kpi], {name: n / UNITS[name] for name, n in stored.items()})
    assert list(from_units) == [None if n is None or np.isnan(n) else n for n in from_sums]


def _columns_of(kpi: str) -> list[str]:
    """Every column that the topic's KPIs can ask for."""
    return [c.name for c in TOPICS[KPIS[kpi].topic].counters] + list(DERIVED)


def test_what_is_derived_is_no_counter() -> None:
    assert not set(DERIVED) & set(LAYOUT.counters)
