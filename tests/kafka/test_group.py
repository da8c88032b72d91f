"""What a consumer group says of itself, without a broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stream.kafka.group import members


class FakeAdmin:
    """Knows a group with one member, which chose its name itself."""

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        member = ("id", "client\x1b[2J\nforged", "/10.0.0.1", b"", b"")
        return [SimpleNamespace(groups=[(0, "g", "Stable", "consumer", "range", [member])])]


async def test_a_member_is_named_on_one_line_whatever_it_calls_itself() -> None:
    admin: Any = FakeAdmin()
    (named,) = await members(admin, "g")
    assert named == "client\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}forged at 10.0.0.1"
