"""Reading a log that several transactional ids write to."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer

from stream.kafka.log import Outgoing, TransactionalWriter, read_log
from stream.kafka.topics import STATE_LIMIT, prepare
from tests.kafka.conftest import Site


async def test_what_was_committed_behind_an_open_transaction_is_read(site: Site) -> None:
    """Or whoever takes over alerts would begin from a state that is not the last."""
    kafka = site.config.kafka
    topic = (await prepare(kafka)).names.alert_state
    dying = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=f"{kafka.group}-dying"
    )
    await dying.start()
    await dying.begin_transaction()
    await dying.send_and_wait(topic, key=b"a", value=b"open", partition=0)
    writer = TransactionalWriter(kafka, f"{kafka.group}-other", STATE_LIMIT)
    await writer.start()
    await writer.write([Outgoing(topic, 0, b"b", b"committed")])
    reading = asyncio.ensure_future(read_log(kafka, topic, 0))
    await asyncio.wait({reading}, timeout=2)
    await dying.abort_transaction()
    assert await reading == {b"b": b"committed"}
    await writer.stop()
    await dying.stop()
