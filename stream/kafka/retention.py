"""Whether topics keep what is written to them, where others made them.

Topics that hold state may delete what is old: the front of a log, which nobody misses until a
worker next reads it. Topics of dead letters may keep one letter of each key alone, and then refuse
a letter without a key, or take less than their source, and then refuse what is larger: the whole
transaction fails with it, time and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

_POLICY: Final = "cleanup.policy"
_LIMIT: Final = "max.message.bytes"
#: How often to look before settings are called wrong, a tenth of a second apart.
_LOOKS: Final = 10
#: Topics that were said not to be described: a worker that waits for a broker asks time and again.
_TOLD: Final[set[str]] = set()

log = logging.getLogger(__name__)


class _Demand(NamedTuple):
    """What topics need, in words where it differs."""

    #: The cleanup policy.
    policy: str
    #: What a record batch may have in bytes, where that matters.
    limit: int | None
    #: What would come of a wrong setting, by its key.
    harm: Mapping[str, str]
    #: What else helps than to alter the topic.
    otherwise: str
    #: What is not known where the settings aren't.
    unknown: str

    @property
    def settings(self) -> dict[str, str]:
        """The settings as they have to be."""
        limit = {} if self.limit is None else {_LIMIT: str(self.limit)}
        return {_POLICY: self.policy} | limit

    def wrong(self, settings: Mapping[str, str]) -> dict[str, str]:
        """What is wrong with the settings of a topic by key, with what is wanted instead."""
        policy, least = settings.get(_POLICY), settings.get(_LIMIT)
        wrong = {}
        if policy is not None and not self._takes({part.strip() for part in policy.split(",")}):
            wrong[_POLICY] = f"{_POLICY}={policy} (wanted: {self.policy})"
        if self.limit is not None and least is not None and int(least) < self.limit:
            wrong[_LIMIT] = f"{_LIMIT}={least} (wanted: {self.limit} or more)"
        return wrong

    def _takes(self, policies: set[str]) -> bool:
        if self.policy == "compact":
            return policies == {"compact"}
        return "compact" not in policies


def _of_state(limit: int) -> _Demand:
    return _Demand(
        "compact",
        limit,
        {_POLICY: "what is old would be deleted there", _LIMIT: "what is written might not fit"},
        ", or where the group has not counted yet delete it: it is made as it has to be",
        "whether state is kept there",
    )


def _of_letters(limit: int | None) -> _Demand:
    return _Demand(
        "delete",
        limit,
        {
            _POLICY: "a letter without a key would be refused there and hold up its shard, and of"
            " those with the same key only the last would be kept",
            _LIMIT: "a letter of a large record would be refused there and hold up its shard",
        },
        "",
        "whether dead letters are kept there",
    )


async def unkept(
    admin: AIOKafkaAdminClient, bootstrap: str, topics: Iterable[str], limit: int
) -> str | None:
    """Why topics that are there can't hold state, and the remedy; None where all can.

    ``limit`` is what a record batch may have in bytes. A topic whose settings the broker does not
    tell is warned of, once, and taken as it is.

    Raises:
        KafkaError: the broker does not answer.
    """
    return await _refused(admin, bootstrap, dict.fromkeys(topics, _of_state(limit)))


async def untaken(
    admin: AIOKafkaAdminClient,
    bootstrap: str,
    topics: Iterable[str],
    limits: Mapping[str, int] = MappingProxyType({}),
) -> str | None:
    """As ``unkept``, of topics that are there and are to take dead letters.

    ``limits``: what a record batch may have in bytes there, of those topics of which it is known.

    Raises:
        KafkaError: the broker does not answer.
    """
    demands = {topic: _of_letters(limits.get(topic)) for topic in topics}
    return await _refused(admin, bootstrap, demands)


async def told_limits(admin: AIOKafkaAdminClient, sources: Iterable[str]) -> dict[str, int]:
    """What a record batch may have in bytes, of those source topics whose broker tells it.

    Of the others is warned, once, since their dead letters are not held against it then.

    Raises:
        KafkaError: the broker does not answer.
    """
    found, untold = await _settings(admin, dict.fromkeys(sources, (_LIMIT,)))
    what = "whether their dead letters take their largest records"
    _tell(untold, what, f"{_LIMIT} of the dead letters leaves room for their headers")
    return {topic: int(own[_LIMIT]) for topic, own in found.items() if _LIMIT in own}


async def _refused(
    admin: AIOKafkaAdminClient, bootstrap: str, demands: Mapping[str, _Demand]
) -> str | None:
    found: dict[str, dict[str, str]] = {}
    for _ in range(_LOOKS):
        # The settings of a topic that another worker has just made may take a moment to be known.
        settings = await _told(admin, demands)
        found = {t: wrong for t, own in settings.items() if (wrong := demands[t].wrong(own))}
        if not found:
            return None
        await asyncio.sleep(0.1)
    named = "; ".join(
        f"topic {topic} has {', '.join(wrong.values())}" for topic, wrong in found.items()
    )
    keys = {key for wrong in found.values() for key in wrong}
    topic = next(iter(found)) if len(found) == 1 else "TOPIC"
    # What suits the one that needs most suits all.
    demand = max((demands[topic] for topic in found), key=lambda demand: demand.limit or 0)
    wanted = {key: value for key, value in demand.settings.items() if key in keys}
    mended = ",".join(f"{key}={value}" for key, value in wanted.items())
    return (
        f"{named}: {' and '.join(demand.harm[key] for key in wanted)}; for each"
        f" `kafka-configs --bootstrap-server {bootstrap} --alter --topic {topic} --add-config"
        f" {mended}`{demand.otherwise}"
    )


async def _told(
    admin: AIOKafkaAdminClient, demands: Mapping[str, _Demand]
) -> dict[str, dict[str, str]]:
    """The settings of those topics that the broker tells of; of the others is warned."""
    found, untold = await _settings(admin, {t: tuple(d.settings) for t, d in demands.items()})
    if untold:
        demand = max((demands[topic] for topic in untold), key=lambda demand: demand.limit or 0)
        room = "" if demand.limit is None else f" and {_LIMIT}={demand.limit} or more"
        _tell(untold, demand.unknown, f"{_POLICY}={demand.policy}{room}")
    return found


async def _settings(
    admin: AIOKafkaAdminClient, keys: Mapping[str, Sequence[str]]
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Settings of topics, and why those of others are not told; ``keys`` has which, by topic."""
    found: dict[str, dict[str, str]] = {}
    untold: dict[str, str] = {}
    if not keys:
        return found, untold
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(own))
        for topic, own in keys.items()
    ]
    for answer in await admin.describe_configs(asked):
        for code, _, _, topic, entries in answer.resources:
            if code:
                untold[topic] = for_code(code).__name__
            else:
                found[topic] = {key: value for key, value, *_ in entries if value is not None}
    return found, untold


def _tell(untold: Mapping[str, str], unchecked: str, wanted: str) -> None:
    new = [topic for topic in untold if topic not in _TOLD]
    _TOLD.update(new)
    if new:
        log.warning(
            "the settings of %s are not told (%s), so %s was not checked:"
            " grant the right to describe configs, or see that %s",
            ", ".join(new),
            untold[new[0]],
            unchecked,
            wanted,
        )
