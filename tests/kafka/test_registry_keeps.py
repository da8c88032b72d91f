"""When the registry of values is read, and that its changes hide no mistake and leave no client."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.config import KafkaConfig
from stream.core.settings import Settings
from stream.core.state import StateRefused
from stream.core.values import Values
from stream.kafka import registry
from stream.kafka.log import LogUnread
from stream.kafka.registry import ValueRegistry, joined, parted
from stream.kafka.topics import Names
from tests.kafka.fakes import KeptWriter

SETTINGS = replace(Settings(), dimensions=("channel",), rollups=((),))


class Counted(KeptWriter):
    """A writer whose start fails by an error, if there is one left."""

    errors: ClassVar[list[Exception]] = []
    #: How many were made, and not let go of.
    open: ClassVar[int] = 0

    def __init__(self, *_: object) -> None:
        super().__init__()
        Counted.open += 1

    async def start(self) -> None:
        if Counted.errors:
            raise Counted.errors.pop(0)

    async def stop(self) -> None:
        Counted.open -= 1


class Kept:
    """A registry and what its topic holds."""

    def __init__(self) -> None:
        self.values = Values(SETTINGS, shared=True)
        self.registry = ValueRegistry(KafkaConfig(), Names("", "g"), self.values)
        self.records: dict[bytes, bytes] | Exception = {}
        self.reads = 0

    async def read_log(self, *_: object) -> dict[bytes, bytes]:
        self.reads += 1
        if isinstance(self.records, Exception):
            raise self.records
        return self.records


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    made = Kept()
    Counted.open, Counted.errors = 0, []
    monkeypatch.setattr(registry, "TransactionalWriter", Counted)
    monkeypatch.setattr(registry, "read_log", made.read_log)
    monkeypatch.setattr(registry, "_BACKOFF_SECONDS", 0.0)
    return made


async def test_what_the_registry_holds_is_read_once_for_all_shards(kept: Kept) -> None:
    kept.records = LogUnread("not now")
    with pytest.raises(LogUnread):
        await kept.registry.read()
    kept.records = parted({"channel": {"web": 1}})
    for _ in range(3):
        await kept.registry.read()
    assert kept.reads == 2


async def test_a_registry_that_is_damaged_is_refused_with_the_remedy(kept: Kept) -> None:
    kept.records = {b"values": b"no registry"}
    with pytest.raises(StateRefused, match=r"topic g-values is damaged: .*`cxkpi state reset`"):
        await kept.registry.read()


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        pytest.param([], None, id="it goes well"),
        pytest.param([KafkaConnectionError("gone")], None, id="another was quicker"),
        pytest.param([KeyError("a mistake")], KeyError, id="a mistake"),
    ],
)
async def test_no_client_is_left_of_a_change_however_it_ends_and_no_mistake_is_hidden(
    kept: Kept, errors: list[Exception], raised: type[Exception] | None
) -> None:
    await kept.registry.read()
    kept.values.fold(("web", None), 0)
    Counted.errors = [*errors]
    if raised is None:
        await kept.registry.settle()
        assert not kept.values.is_undecided
    else:
        with pytest.raises(raised):
            await kept.registry.settle()
        assert kept.values.is_undecided
    assert Counted.open == 0


def test_of_a_value_that_lies_in_two_records_the_later_time_counts() -> None:
    """Whoever has used it last keeps its place."""
    for first, second in ((3, 5), (5, 3)):
        (one,) = parted({"channel": {"web": first}}).values()
        (other,) = parted({"channel": {"web": second}}).values()
        assert joined({b"values": one, b"values/1": other}) == {"channel": {"web": 5}}
