"""The stages that ``python -m bench.stages`` times are parts of the core that exist."""

from __future__ import annotations

import pytest

from bench.stages import STAGES

_PARTS = [
    pytest.param(owner, name, id=f"{owner.__name__}.{name}")
    for parts in STAGES.values()
    for owner, names in parts
    for name in names
]


@pytest.mark.parametrize(("owner", "name"), _PARTS)
def test_a_stage_is_made_of_functions_that_exist(owner: object, name: str) -> None:
    assert callable(vars(owner).get(name))


def test_no_function_belongs_to_two_stages() -> None:
    assert len({(id(p.values[0]), p.values[1]) for p in _PARTS}) == len(_PARTS)
