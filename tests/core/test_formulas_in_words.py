"""The catalogue's formulas as people read them, held against what the code works out."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.catalogue import KPIS, LAYOUT, TOPICS
from stream.core.evaluate import evaluated
from stream.core.kpi import DERIVED, Term


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
@given(st.data())
def test_a_formula_with_its_numbers_put_in_is_the_value(kpi: str, data: st.DataObject) -> None:
    numbers = {
        name: float(data.draw(st.integers(1, 10**6), label=name)) for name in _columns_of(kpi)
    }
    columns = {name: np.array([number]) for name, number in numbers.items()}
    text = KPIS[kpi].formula_with(lambda term: repr(numbers[term.column]))
    said = eval(text.replace("−", "-").replace("·", "*"))
    assert said == pytest.approx(evaluated(KPIS[kpi], columns)[0][0])


def _columns_of(kpi: str) -> list[str]:
    """Every column that the topic's KPIs can ask for."""
    return [c.name for c in TOPICS[KPIS[kpi].topic].counters] + list(DERIVED)


def test_what_is_derived_is_no_counter() -> None:
    assert not set(DERIVED) & set(LAYOUT.counters)
