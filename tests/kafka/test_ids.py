"""The ids under which a group writes: they must stay what they were, or nobody is fenced."""

from __future__ import annotations

import pytest

from stream.core.catalogue import FAMILIES
from stream.kafka import ids


@pytest.mark.parametrize(
    ("found", "released"),
    [
        (ids.of_shard("cxkpi", 3), "cxkpi-shard-3"),
        (ids.of_alerts("cxkpi", "cx.survey"), "cxkpi-alerts-cx.survey"),
        (ids.of_values("cxkpi"), "cxkpi-values"),
        (ids.of_redrive("cxkpi"), "cxkpi-redrive"),
    ],
)
def test_a_worker_fences_one_of_an_earlier_release(found: str, released: str) -> None:
    assert found == released


def test_a_renewal_fences_the_owners_of_all_that_is_remembered_beside_the_shards() -> None:
    owners = {ids.of_values("g"), *(ids.of_alerts("g", family) for family in FAMILIES)}
    assert set(ids.of_others("g")) == owners
