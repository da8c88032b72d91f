"""Topics of dead letters that others made are taken only where each letter finds its place."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka.admin import NewPartitions

from stream.core.catalogue import TOPICS
from stream.core.state import REMEDY
from stream.kafka.administration import Administrator, TopicsUnfit
from stream.kafka.topics import Names, TopicMap, check, prepare, refuse_grown
from tests.kafka.conftest import Site
from tests.kafka.test_state_commands import told_beforehand
from tests.kafka.test_trouble import create
from tests.kafka.topics import administer


def looked_at(site: Site, topics: TopicMap) -> None:
    """Look as a worker does now and then: one that finds fault looks a second time."""

    async def looking() -> None:
        administrator = Administrator(site.config.kafka)
        try:
            try:
                await check(administrator, topics)
            except TopicsUnfit:
                # What was just created or grew may take a moment to be known.
                await asyncio.sleep(1)
                await check(administrator, topics)
        finally:
            await administrator.close()

    asyncio.run(looking())


def test_dead_letters_may_have_more_partitions_than_their_source_for_as_long_as_a_worker_runs(
    site: Site,
) -> None:
    create(site, {site.source("cx.cart") + ".dlq": {"max.message.bytes": "8000000"}}, 6)
    topics = asyncio.run(prepare(site.config.kafka))
    assert topics.partitions["cx.cart"] < 6
    looked_at(site, topics)
    visit = site.source("cx.visit") + ".dlq"
    administer(site.bootstrap, lambda admin: admin.create_partitions({visit: NewPartitions(9)}))
    looked_at(site, topics)


def test_dead_letters_with_too_few_partitions_get_more_and_the_state_is_kept(site: Site) -> None:
    """Nothing that was counted lies elsewhere, so to count anew would only cost time."""
    topics = asyncio.run(prepare(site.config.kafka))
    cart, n = site.source("cx.cart"), topics.partitions["cx.cart"]
    administer(site.bootstrap, lambda admin: admin.delete_topics([f"{cart}.dlq"]))
    time.sleep(1)
    create(site, {f"{cart}.dlq": {"max.message.bytes": "8000000"}}, 1)
    with pytest.raises(TopicsUnfit) as running:
        looked_at(site, topics)
    assert str(running.value) == (
        f"topic {cart}.dlq has 1 partitions now, fewer than the {n} of its source: give it {n},"
        " then start the worker again; the state is whole"
    )
    said = f"if {cart} always had {n}, give {cart}.dlq {n} and start the worker again; if it has"
    told_beforehand(site, said)
    with pytest.raises(TopicsUnfit, match=said):
        asyncio.run(prepare(site.config.kafka))
    more = {f"{cart}.dlq": NewPartitions(n)}
    administer(site.bootstrap, lambda admin: admin.create_partitions(more))
    looked_at(site, asyncio.run(prepare(site.config.kafka)))


@pytest.mark.parametrize(
    ("shards", "said"),
    [(4, "dead letters have 4: their number has changed; "), (6, "if p-cx.visit always had 6, ")],
)
def test_a_topic_has_surely_grown_where_the_state_has_fewer_partitions_too(
    shards: int, said: str
) -> None:
    names = Names("p-", "g")
    partitions = dict.fromkeys(TOPICS, 4) | {"cx.visit": 6}
    found = {names.dead_letters(topic): 4 for topic in TOPICS} | {names.state: shards}
    with pytest.raises(TopicsUnfit) as refused:
        refuse_grown(names, partitions, found)
    assert said in str(refused.value)
    assert str(refused.value).endswith(REMEDY)
