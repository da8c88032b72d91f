"""Where the benchmark takes place: a folder and a broker of its own, gone at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.job import Counts, difference
from bench.measured import Failed, Measurement
from stream.broker import Broker
from stream.broker.process import GuardedProcess
from stream.config import KafkaConfig

#: How long any subject may take for one run, in seconds.
PATIENCE: Final = 300.0
#: The default number of partitions, that of the product.
PARTITIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Site:
    """The broker and the folder for configurations, events and logs."""

    folder: Path
    broker: Broker

    @property
    def bootstrap(self) -> str:
        """The broker's address."""
        return self.broker.bootstrap

    @property
    def events_file(self) -> Path:
        """All events as JSON lines."""
        return self.folder / "events.jsonl"

    @property
    def kafka(self) -> KafkaConfig:
        """The product's settings of the connection."""
        return KafkaConfig(bootstrap=self.bootstrap)

    @contextmanager
    def process(self, name: str, *arguments: str) -> Iterator[tuple[GuardedProcess, Path]]:
        """Run ``python ARGUMENTS`` with the product's interpreter, and end it with the block."""
        with self.command(name, [sys.executable, *arguments]) as started:
            yield started

    @contextmanager
    def command(self, name: str, command: Sequence[str]) -> Iterator[tuple[GuardedProcess, Path]]:
        """Run a command, its output in a file of the folder, and end it with the block."""
        log = self.folder / f"{name}.log"
        process = GuardedProcess(command, log, environment())
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.terminate(15)
            process.close()

    def program(
        self,
        name: str,
        command: Sequence[str],
        truth: Counts | None = None,
        /,
        **options: object,
    ) -> Measurement:
        """Run a program that measures itself; what its last line says, once its result is right.

        Raises:
            Failed: it fails, takes too long, or has counted anything but the ``truth``.
        """
        said = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        with self.command(name, [*command, f"--bootstrap={self.bootstrap}", *said]) as started:
            process, log = started
            try:
                code = process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise failure(f"{name}, which takes longer than {PATIENCE:.0f} s,", log) from None
            if code != 0:
                raise failure(name, log)
            result = json.loads(log.read_text().splitlines()[-1])
        counts = result.pop("counts", None)
        if truth is not None and (wrong := difference(counts or {}, truth)) is not None:
            raise Failed(f"{name} has not counted the truth: {wrong}")
        return Measurement(**result)


def failure(name: str, log: Path) -> Failed:
    """The end of what a subject has said."""
    return Failed(f"{name} has failed:\n{log.read_text(errors='replace')[-3000:]}")


def environment() -> Mapping[str, str]:
    """Our own environment without settings of the product: the defaults are measured."""
    root = Path(__file__).parent.parent
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CXKPI_")}
    return kept | {"PYTHONPATH": str(root)}


@contextmanager
def site() -> Iterator[Site]:
    """A new folder with a broker; both are gone after the block."""
    with tempfile.TemporaryDirectory(prefix="cxkpi-bench-") as name:
        folder = Path(name)
        with Broker(folder / "kafka", tell=lambda text: print(text, file=sys.stderr)) as broker:
            yield Site(folder, broker)


def wait_a_moment(started: float, name: str, log: Path, process: GuardedProcess) -> None:
    """Wait before looking at a subject again.

    Raises:
        Failed: it has ended, or takes too long.
    """
    if process.poll() is not None or time.monotonic() - started > PATIENCE:
        raise failure(name, log)
    time.sleep(0.02)
