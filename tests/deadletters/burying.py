"""Dead letters written straight into their topics, and the command as an operator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from click.testing import CliRunner, Result

from stream.cli import cli
from stream.core.shard import Refusal
from stream.deadletters.headers import GROUP, LEFT_OUT, of_refusal
from stream.kafka.letters import LetterReader
from stream.kafka.log import Outgoing, TransactionalWriter
from stream.kafka.shards import dead_letter_headers
from stream.kafka.topics import prepare
from stream.kafka.transport import Chunk
from tests.kafka.conftest import Site
from tests.kafka.topics import Read, records

#: Partition, key and value of a record that was refused.
Buried = tuple[int, bytes | None, bytes | None]
PARTITIONS = 4
EARLY = Refusal(0, "future", "occurred_at", "is ahead of the clock")


def bury(
    site: Site,
    letters: Sequence[Buried],
    *,
    topic: str = "cx.visit",
    refusal: Refusal = EARLY,
    own: Sequence[tuple[str, bytes | None]] = (),
    size: int = 100,
    group: str | None = None,
    left_out: str | None = None,
) -> None:
    """Write dead letters as the worker does, ``size`` of them in a transaction.

    ``group`` is the site's, unless it is said; an empty one is not named, as in letters of old.
    ``left_out`` makes letters without their records of them.
    """

    async def burying() -> None:
        await prepare(site.config.kafka)
        writer = TransactionalWriter(site.config.kafka, f"{site.group}-test", 16 * 1024 * 1024)
        await writer.start()
        try:
            for first in range(0, len(letters), size):
                some = letters[first : first + size]
                await writer.write(outgoing(number, *one) for number, one in enumerate(some, first))
        finally:
            await writer.stop()

    def outgoing(number: int, partition: int, key: bytes | None, value: bytes | None) -> Outgoing:
        chunk = Chunk(site.source(topic), partition, 1, 0, 1, [])
        said = dead_letter_headers(chunk, number, refusal, site.group if group is None else group)
        headers = [*own, *(header for header in said if header[1] or header[0] != GROUP)]
        letter = Outgoing(f"{site.source(topic)}.dlq", partition, key, value, headers)
        if left_out is None:
            return letter
        headers = [*of_refusal(headers), (LEFT_OUT, left_out.encode())]
        return letter._replace(key=None, value=None, headers=headers)

    asyncio.run(burying())


def sent(site: Site, topic: str = "cx.visit") -> list[Read]:
    """What lies in a source topic."""
    return records(site.bootstrap, [site.source(topic)])


def arguments(site: Site, *more: object) -> list[str]:
    """The command line."""
    command, *rest = map(str, more)
    return ["dlq", command, "--config", str(site.file), *rest]


def dlq(site: Site, *more: object) -> Result:
    """Run ``cxkpi dlq`` in this process."""
    return CliRunner().invoke(cli, arguments(site, *more))


def redriven(site: Site, *more: object, expected: int = 0) -> dict[str, Any]:
    """The summary of ``cxkpi dlq redrive``, which must end with this exit code."""
    result = dlq(site, "redrive", "--json", *more)
    assert result.exit_code == expected, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def process(site: Site, *more: object, prelude: str = "") -> subprocess.Popen[str]:
    """Start ``cxkpi dlq`` as a process of its own, which runs ``prelude`` before."""
    program = f"{prelude}\nfrom stream.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments(site, *more)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("CXKPI_")},
    )


def ledger_ranges(site: Site) -> int:
    """How many ranges the ledger has."""

    async def reading() -> int:
        async with LetterReader(site.config.kafka) as reader:
            ledger = await reader.ledger()
            return sum(len(block.sent) for block in ledger._blocks.values())

    return asyncio.run(reading())
