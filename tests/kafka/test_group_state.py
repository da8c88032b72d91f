"""What is said of a group's state as a whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.core.inspection import inspect
from stream.core.settings import Settings
from stream.core.shape import Shape
from stream.core.state import Header
from stream.kafka.group_state import GroupState

NOTHING = inspect({})


@pytest.mark.parametrize(
    ("versions", "latest"),
    [
        ([], None),
        (["0.9.0", "0.10.0"], "0.10.0"),
        (["1.0.0", "0.10.0"], "1.0.0"),
        (["0.1.1", "0.1"], "0.1.1"),
    ],
)
def test_the_latest_of_the_versions_that_wrote_is_told(
    versions: list[str], latest: str | None
) -> None:
    shape = Shape.of(Settings())
    shards = [replace(NOTHING, header=Header(version, shape, 1, {})) for version in versions]
    found = GroupState("group-state", [], None, {}, [NOTHING, *shards], None)
    assert found.version == latest
