"""Topics that others made are refused at a start, where they lose state or dead letters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.config import KafkaConfig
from stream.core.catalogue import TOPICS
from stream.kafka import retention
from stream.kafka.administration import USUAL_LIMIT, largest_batch
from stream.kafka.retention import unkept, untaken
from stream.kafka.topics import (
    COMPACTED,
    DEAD_LETTER_ROOM,
    STATE_LIMIT,
    Names,
    prepare,
    refused_settings,
)
from tests.kafka.conftest import Site
from tests.kafka.fakes import FORBIDDEN, UNKNOWN
from tests.kafka.test_state_commands import told_beforehand
from tests.kafka.test_trouble import create, refused
from tests.kafka.topics import administer

#: How a broker says of a setting that it is no default.
SET_FOR_THE_TOPIC = 1
SOUND = {"cleanup.policy": "compact", "max.message.bytes": str(STATE_LIMIT)}


WRONG: Mapping[str, tuple[Mapping[str, str], str]] = {
    "state": ({}, "cleanup.policy=delete (wanted: compact), max.message.bytes="),
    "alerts": (SOUND | {"cleanup.policy": "compact,delete"}, "cleanup.policy=compact,delete"),
    "values": ({"cleanup.policy": "compact"}, "max.message.bytes="),
    "share": (SOUND | {"max.message.bytes": "1000000"}, "max.message.bytes=1000000"),
}


def test_topics_that_would_lose_state_are_refused_and_told_beforehand(site: Site) -> None:
    create(site, {f"{site.group}-{suffix}": settings for suffix, (settings, _) in WRONG.items()})
    told = [f"topic {site.group}-{suffix} has {said}" for suffix, (_, said) in WRONG.items()]
    told_beforehand(site, told[0])
    line = refused(site.worker())
    assert [one for one in told if one not in line] == []
    assert "--add-config cleanup.policy=compact,max.message.bytes=" in line
    assert not site.sources()


def test_a_topic_that_was_mended_as_the_line_says_is_taken(site: Site) -> None:
    topic = f"{site.group}-state"
    create(site, {topic: {}})
    assert "kafka-configs" in refused(site.worker())
    mended = ConfigResource(ConfigResourceType.TOPIC, topic, configs=SOUND)
    administer(site.bootstrap, lambda admin: admin.alter_configs([mended]))
    site.worker().until_ready()


@pytest.mark.parametrize("topic", ["cx.visit", "cx.alert"])
def test_compacted_dead_letters_are_refused_told_beforehand_and_taken_once_mended(
    site: Site, topic: str
) -> None:
    """One without a key would hold up its shard for ever."""
    letters = site.source(topic) + ".dlq"
    create(site, {letters: {"cleanup.policy": "compact", "max.message.bytes": "8000000"}})
    told = f"topic {letters} has cleanup.policy=compact (wanted: delete): "
    told_beforehand(site, told)
    line = refused(site.worker())
    assert told in line
    assert line.endswith(
        f"`kafka-configs --bootstrap-server {site.bootstrap} --alter --topic {letters} --add-config"
        " cleanup.policy=delete`"
    )
    settings = {"cleanup.policy": "delete", "max.message.bytes": "8000000"}
    mended = ConfigResource(ConfigResourceType.TOPIC, letters, configs=settings)
    administer(site.bootstrap, lambda admin: admin.alter_configs([mended]))
    asyncio.run(prepare(site.config.kafka))


def test_dead_letters_are_not_compacted_whatever_the_brokers_default_is(site: Site) -> None:
    asyncio.run(prepare(site.config.kafka))
    topics = [site.source(topic) + ".dlq" for topic in (*TOPICS, "cx.alert")]
    own: dict[str, str] = {}

    async def look(admin: Any) -> None:
        asked = [
            ConfigResource(ConfigResourceType.TOPIC, t, configs={"cleanup.policy": None})
            for t in topics
        ]
        for answer in await admin.describe_configs(asked):
            for _, _, _, topic, entries in answer.resources:
                own[topic] = next((e[1] for e in entries if e[3] == SET_FOR_THE_TOPIC), "")

    administer(site.bootstrap, look)
    assert own == dict.fromkeys(topics, "delete")


class Admin:
    """A broker's answers: an error, or settings, for each topic."""

    def __init__(self, told: Mapping[str, int | Mapping[str, str]]) -> None:
        self.told = told

    async def describe_configs(self, asked: list[ConfigResource]) -> list[Any]:
        resources = []
        for topic in (resource.name for resource in asked):
            told = self.told[topic]
            code = told if isinstance(told, int) else 0
            settings: Mapping[str, str] = {} if isinstance(told, int) else told
            entries: list[object] = [
                (key, value, False, 1, False, []) for key, value in settings.items()
            ]
            resources.append((code, "", ConfigResourceType.TOPIC, topic, entries))
        return [SimpleNamespace(resources=resources)]


async def asked(told: Mapping[str, int | Mapping[str, str]]) -> str | None:
    return await unkept(Admin(told), "kafka:9092", told, STATE_LIMIT)


@pytest.mark.parametrize(
    "settings",
    [COMPACTED, SOUND, SOUND | {"max.message.bytes": str(2 * STATE_LIMIT)}, {}],
)
async def test_topics_that_keep_state_are_taken_as_they_are(settings: Mapping[str, str]) -> None:
    assert await asked({"a": settings}) is None
    assert await asked({}) is None


async def test_all_topics_that_would_lose_state_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "_LOOKS", 1)
    reason = await asked(
        {"a": SOUND | {"cleanup.policy": "delete"}, "b": SOUND, "c": {"max.message.bytes": "5"}}
    )
    assert reason is not None
    assert reason.startswith(
        "topic a has cleanup.policy=delete (wanted: compact);"
        f" topic c has max.message.bytes=5 (wanted: {STATE_LIMIT} or more):"
        " what is old would be deleted there and what is written might not fit; "
    )
    assert "--topic TOPIC " in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        (SOUND | {"cleanup.policy": "compact,delete"}, "cleanup.policy=compact"),
        (SOUND | {"max.message.bytes": "1000000"}, f"max.message.bytes={STATE_LIMIT}"),
    ],
)
async def test_only_what_is_wrong_with_a_topic_is_to_be_altered(
    monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, str], added: str
) -> None:
    monkeypatch.setattr(retention, "_LOOKS", 1)
    assert f"--topic a --add-config {added}`" in (await asked({"a": settings}) or "")


async def test_a_topic_whose_settings_are_not_told_is_warned_of_once_and_taken(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_TOLD", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await asked({"a": FORBIDDEN, "b": SOUND}) is None
    (record,) = caplog.records
    assert "the settings of a are not told (TopicAuthorizationFailedError)" in record.getMessage()
    assert "describe configs" in record.getMessage()


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete, compact"])
async def test_dead_letters_are_refused_where_they_are_compacted_too(
    monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setattr(retention, "_LOOKS", 1)
    admin: Any = Admin({"a.dlq": {"cleanup.policy": policy}, "b.dlq": {"cleanup.policy": "delete"}})
    assert await untaken(admin, "kafka:9092", ["a.dlq", "b.dlq"]) == (
        f"topic a.dlq has cleanup.policy={policy} (wanted: delete): a letter without a key would be"
        " refused there and hold up its shard, and of those with the same key only the last would"
        " be kept; for each `kafka-configs --bootstrap-server kafka:9092 --alter --topic a.dlq"
        " --add-config cleanup.policy=delete`"
    )


@pytest.mark.parametrize("settings", [{"cleanup.policy": "delete"}, {"cleanup.policy": ""}, {}])
async def test_dead_letters_that_are_not_compacted_are_taken_as_they_are(
    settings: Mapping[str, str],
) -> None:
    admin: Any = Admin({"a.dlq": {**settings, "max.message.bytes": "5"}})
    assert await untaken(admin, "kafka:9092", ["a.dlq"]) is None
    assert await untaken(admin, "kafka:9092", []) is None


async def test_dead_letters_whose_settings_are_not_told_are_warned_of_and_taken(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_TOLD", set())
    admin: Any = Admin({"a.dlq": FORBIDDEN})
    with caplog.at_level(logging.WARNING):
        assert await untaken(admin, "kafka:9092", ["a.dlq"]) is None
    (message,) = caplog.messages
    assert message == (
        "the settings of a.dlq are not told (TopicAuthorizationFailedError), so whether dead"
        " letters are kept there was not checked: grant the right to describe configs, or see that"
        " cleanup.policy=delete"
    )


NAMES = Names("p-", "g")
LETTERS = {"cleanup.policy": "delete", "max.message.bytes": str(5_000 + DEAD_LETTER_ROOM)}
#: What is set for each of a worker's topics, so that it takes them.
TAKEN: Mapping[str, int | Mapping[str, str]] = {
    **dict.fromkeys(NAMES.internal, SOUND),
    **{NAMES.source(topic): {"max.message.bytes": "5000"} for topic in TOPICS},
    **dict.fromkeys(map(NAMES.dead_letters, TOPICS), LETTERS),
    NAMES.dead_alerts: LETTERS | {"max.message.bytes": "100"},
}


async def refused_of_all(
    monkeypatch: pytest.MonkeyPatch, changed: Mapping[str, int | Mapping[str, str]]
) -> str | None:
    monkeypatch.setattr(retention, "_LOOKS", 1)
    admin: Any = Admin({**TAKEN, **changed})
    there = [topic for topic, told in admin.told.items() if told != UNKNOWN]
    return await refused_settings(admin, KafkaConfig(bootstrap="kafka:9092"), NAMES, there)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="all is as a worker makes it"),
        pytest.param({"p-cx.cart.dlq": {"max.message.bytes": "9000000"}}, id="more room"),
        pytest.param({"p-cx.cart": UNKNOWN, "p-cx.cart.dlq": {}}, id="a source is to be made"),
        pytest.param({"p-cx.cart.dlq": UNKNOWN}, id="dead letters are to be made"),
        pytest.param({"p-cx.cart.dlq": FORBIDDEN}, id="dead letters are not told"),
        pytest.param(
            {"p-cx.cart": FORBIDDEN, "p-cx.cart.dlq": {"max.message.bytes": "100"}},
            id="a source is not told",
        ),
    ],
)
async def test_dead_letters_are_taken_where_they_take_their_source_or_nobody_knows(
    changed: Mapping[str, int | Mapping[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await refused_of_all(monkeypatch, changed) is None


async def test_dead_letters_that_take_less_than_their_source_are_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that does not fit would hold up its shard for ever."""
    assert await refused_of_all(
        monkeypatch,
        {
            "p-cx.cart": {"max.message.bytes": "7000"},
            "p-cx.cart.dlq": {"max.message.bytes": "6000"},
            "p-cx.visit.dlq": {"max.message.bytes": "100"},
        },
    ) == (
        "topic p-cx.cart.dlq has max.message.bytes=6000 (wanted: 72536 or more); topic"
        " p-cx.visit.dlq has max.message.bytes=100 (wanted: 70536 or more): a letter of a large"
        " record would be refused there and hold up its shard; for each `kafka-configs"
        " --bootstrap-server kafka:9092 --alter --topic TOPIC --add-config"
        " max.message.bytes=72536`"
    )


async def test_what_is_not_told_of_dead_letters_and_their_sources_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "_TOLD", set())
    with caplog.at_level(logging.WARNING):
        changed = {"p-cx.cart": FORBIDDEN, "p-cx.visit.dlq": FORBIDDEN}
        for _ in range(2):
            assert await refused_of_all(monkeypatch, changed) is None
    of_source, of_letters = caplog.messages
    assert of_source == (
        "the settings of p-cx.cart are not told (TopicAuthorizationFailedError), so whether their"
        " dead letters take their largest records was not checked: grant the right to describe"
        " configs, or see that max.message.bytes of the dead letters leaves room for their headers"
    )
    assert of_letters == (
        "the settings of p-cx.visit.dlq are not told (TopicAuthorizationFailedError), so whether"
        " dead letters are kept there was not checked: grant the right to describe configs, or see"
        " that cleanup.policy=delete and max.message.bytes=70536 or more"
    )


@pytest.mark.parametrize(
    ("told", "limit"),
    [({"max.message.bytes": "7"}, 7), (FORBIDDEN, None), ({}, None)],
)
async def test_a_limit_that_is_not_told_is_not_taken_for_the_usual_one(
    told: int | Mapping[str, str], limit: int | None
) -> None:
    admin: Any = Admin({"a": told})
    assert await largest_batch(admin, "a") == limit != USUAL_LIMIT
