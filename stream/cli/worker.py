"""``cxkpi worker``: takes in events from Kafka until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import click

from stream import collector, descriptors
from stream.cli.configured import config_option, configuration
from stream.cli.failure import CommandFailed
from stream.cli.signals import ignore_signals
from stream.cli.telling import tell
from stream.config import Config
from stream.config.loading import file_read
from stream.config.warned import warned_of
from stream.core.errors import StopError
from stream.kafka.repeats import tidy

#: What tells a worker to end.
_ENDS = (signal.SIGINT, signal.SIGTERM)
#: How long closing connections may take, in seconds.
_GOODBYE_SECONDS = 1.5
#: What these say of the worker's life is worth a line always, other information only with -v.
_TOLD = ("stream.kafka.readiness", "stream.wiring", "stream.sinks.dispatcher")

log = logging.getLogger(__name__)


class InUtc(logging.Formatter):
    """Writes times as alerts have them, whatever the machine's zone is."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


@click.command()
@config_option
@click.option("-v", "--verbose", is_flag=True, help="Log what the parts do, too.")
def worker(config_path: Path | None, verbose: bool) -> None:
    """Take in events from Kafka, keep the KPIs, fire alerts, until SIGTERM or Ctrl-C."""
    # Until the loop takes both signals for its end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config = configuration(config_path)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(InUtc("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    for name in _TOLD:
        logging.getLogger(name).setLevel(logging.INFO)
    for each in logging.getLogger().handlers:
        tidy(each)
    for warning in warned_of(config):
        log.warning("%s: %s", file_read(config_path) or "environment", warning)
    asyncio.run(_run(config))


async def _run(config: Config) -> None:
    # Faust takes a second to import, which `cxkpi --help` need not wait for.
    from stream.wiring import Worker

    collector.tune()
    descriptors.allow_all()
    running = Worker(config)
    loop = asyncio.get_running_loop()
    for number in _ENDS:
        # Not the loop's own handlers: it leaves none where it closes, and a further signal would
        # end the process before it has said how it went.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(running.stop))
    hurry: list[threading.Timer] = []

    def ending(failed: BaseException | None) -> None:
        # Kafka's clients may wait for ever for a broker that is gone; by now nothing is lost.
        hurry.append(threading.Timer(_GOODBYE_SECONDS, _leave, (failed,)))
        hurry[0].daemon = True
        hurry[0].start()

    try:
        await running.run(lambda url: tell(f"Metrics at {url}/metrics"), ending)
    except StopError as error:
        raise CommandFailed(str(error)) from error
    finally:
        ignore_signals(_ENDS)


def _leave(failed: BaseException | None) -> None:
    """End the process whatever still runs in it."""
    if failed is not None:
        tell(f"Error: {failed}")
    os._exit(0 if failed is None else CommandFailed.exit_code)
