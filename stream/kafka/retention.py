"""Whether the topics that hold state keep it: where others made them, they may delete what is old.

What a broker deletes is the front of a log, which nobody misses until a worker next reads it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

_POLICY: Final = "cleanup.policy"
_LIMIT: Final = "max.message.bytes"
_HARM: Final = {
    _POLICY: "what is old would be deleted there",
    _LIMIT: "what is written might not fit",
}
#: How often to look before settings are called wrong, a tenth of a second apart.
_LOOKS: Final = 10
#: Topics that were said not to be described: a worker that waits for a broker asks time and again.
_TOLD: Final[set[str]] = set()

log = logging.getLogger(__name__)


async def unkept(
    admin: AIOKafkaAdminClient, bootstrap: str, topics: Iterable[str], limit: int
) -> str | None:
    """Why topics that are there can't hold state, and the remedy; None where all can.

    ``limit`` is what a record batch may have in bytes. A topic whose settings the broker does not
    tell is warned of, once, and taken as it is.

    Raises:
        KafkaError: the broker does not answer.
    """
    wanted = list(topics)
    found: dict[str, dict[str, str]] = {}
    for _ in range(_LOOKS):
        # The settings of a topic that another worker has just made may take a moment to be known.
        settings = await _settings(admin, wanted) if wanted else {}
        found = {t: wrong for t, own in settings.items() if (wrong := _wrong(own, limit))}
        if not found:
            return None
        await asyncio.sleep(0.1)
    named = "; ".join(
        f"topic {topic} has {', '.join(wrong.values())}" for topic, wrong in found.items()
    )
    keys = {key for wrong in found.values() for key in wrong}
    topic = next(iter(found)) if len(found) == 1 else "TOPIC"
    wanted_settings = {_POLICY: "compact", _LIMIT: str(limit)}
    mended = ",".join(f"{key}={value}" for key, value in wanted_settings.items() if key in keys)
    return (
        f"{named}: {' and '.join(_HARM[key] for key in wanted_settings if key in keys)}; for each"
        f" `kafka-configs --bootstrap-server {bootstrap} --alter --topic {topic} --add-config"
        f" {mended}`, or where the group has not counted yet delete it: it is made as it has to be"
    )


def _wrong(settings: Mapping[str, str], limit: int) -> dict[str, str]:
    """What is wrong with the settings of a topic by key, with what is wanted instead."""
    policy, least = settings.get(_POLICY), settings.get(_LIMIT)
    wrong = {}
    if policy is not None and {part.strip() for part in policy.split(",")} != {"compact"}:
        wrong[_POLICY] = f"{_POLICY}={policy} (wanted: compact)"
    if least is not None and int(least) < limit:
        wrong[_LIMIT] = f"{_LIMIT}={least} (wanted: {limit} or more)"
    return wrong


async def _settings(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    """The settings of those topics that the broker tells of."""
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, t, configs={_POLICY: None, _LIMIT: None})
        for t in topics
    ]
    found: dict[str, dict[str, str]] = {}
    untold: dict[str, str] = {}
    for answer in await admin.describe_configs(asked):
        for code, _, _, topic, entries in answer.resources:
            if code:
                untold[topic] = for_code(code).__name__
            else:
                found[topic] = {key: value for key, value, *_ in entries if value is not None}
    _tell(untold)
    return found


def _tell(untold: Mapping[str, str]) -> None:
    new = [topic for topic in untold if topic not in _TOLD]
    _TOLD.update(new)
    if new:
        log.warning(
            "the settings of %s are not told (%s), so whether state is kept there was not checked:"
            " grant the right to describe configs, or see that %s=compact",
            ", ".join(new),
            untold[new[0]],
            _POLICY,
        )
