"""What Kafka's client logs while somebody connects, and after that."""

from __future__ import annotations

import asyncio
import logging

import pytest

from stream.kafka.refusal import client_is_quiet


@pytest.fixture(autouse=True)
def client_may_speak(caplog: pytest.LogCaptureFixture) -> None:
    """Commands that ran before in this process may have had the client be quiet for good."""
    caplog.set_level(logging.WARNING, "aiokafka")


async def test_the_client_speaks_again_once_the_last_who_connects_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever ends last, and not who began first: a worker looks around while a sink connects."""
    client = logging.getLogger("aiokafka")
    first_has_begun, second_has_begun = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        with client_is_quiet():
            first_has_begun.set()
            await second_has_begun.wait()
        client.warning("while the second connects")

    async def second() -> None:
        await first_has_begun.wait()
        with client_is_quiet():
            second_has_begun.set()
            await asyncio.sleep(0.01)
            client.warning("while it connects")

    await asyncio.gather(first(), second())
    client.warning("later")
    assert [record.message for record in caplog.records] == ["later"]


def test_the_client_speaks_again_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="gone"), client_is_quiet():
        raise OSError("gone")
    logging.getLogger("aiokafka").warning("later")
    assert [record.message for record in caplog.records] == ["later"]
