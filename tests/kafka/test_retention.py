"""Topics that others made are refused before a worker takes them over, where they lose state."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.kafka import retention
from stream.kafka.retention import unkept
from stream.kafka.topics import COMPACTED, STATE_LIMIT
from tests.kafka.conftest import Site
from tests.kafka.test_state_commands import told_beforehand
from tests.kafka.test_trouble import create, refused
from tests.kafka.topics import administer

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


class Admin:
    """A broker's answers: an error, or settings, for each topic."""

    def __init__(self, told: Mapping[str, int | Mapping[str, str]]) -> None:
        self._told = told

    async def describe_configs(self, asked: list[ConfigResource]) -> list[Any]:
        resources = []
        for topic in (resource.name for resource in asked):
            told = self._told[topic]
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
            assert await asked({"a": 29, "b": SOUND}) is None
    (record,) = caplog.records
    assert "the settings of a are not told (TopicAuthorizationFailedError)" in record.getMessage()
    assert "describe configs" in record.getMessage()
