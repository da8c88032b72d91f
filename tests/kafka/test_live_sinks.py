"""Sinks of real workers: nothing lost by kill -9, dead letters, and alerts that are kept alive."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stream.broker import Broker
from stream.kafka.administration import administration
from tests.fixtures.alertmanager import NewAlertmanager
from tests.fixtures.prometheus import until
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_outages import answers
from tests.kafka.topics import Read, records
from tests.kafka.workers import WorkerProcess

_CONFIG = """
[[alert]]
name = "NpsLow"
kpi = "nps"
window = "5m"
below = 50
min_samples = 10
severity = "critical"

[[sink]]
type = "webhook"
url = "{url}/good"
timeout = "5m"

[[sink]]
type = "webhook"
name = "refusing"
url_file = "refusing"

[[sink]]
type = "webhook"
name = "hanging"
url = "{url}/hanging"
timeout = "5m"

[[sink]]
type = "alertmanager"
url = "{manager}"
refresh = "1s"
"""


class Hook:
    """A webhook that does something before it answers, and what came in at its paths."""

    def __init__(self) -> None:
        self.url = ""
        self.told: dict[str, list[dict[str, Any]]] = {
            path: [] for path in ("/good", "/refusing", "/hanging")
        }
        self.before: Callable[[], None] = lambda: None
        self.over = threading.Event()


@contextmanager
def hook() -> Iterator[Hook]:
    it = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = urlsplit(self.path).path
            it.told[path].append(body)
            if path == "/good":
                it.before()
            if path == "/hanging":
                it.over.wait()
            self.send_response(200 if path == "/good" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    it.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield it
    finally:
        it.over.set()
        server.shutdown()
        server.server_close()


def notifications(worker: WorkerProcess) -> dict[tuple[str, str], float]:
    return {
        (s.labels["sink"], s.labels["result"]): s.value
        for s in worker.scrape()
        if s.name == "cx_worker_notifications_total"
    }


def acknowledged(site: Site, sink: str) -> int:
    """How many records of the alert topic a sink needs no more."""

    async def position() -> int:
        async with administration(site.config.kafka) as admin:
            found = await admin.list_consumer_group_offsets(f"{site.group}-sink-{sink}")
        return max((one.offset for one in found.values()), default=0)

    return asyncio.run(position())


def dead_changes(site: Site) -> list[Read]:
    """The dead letters of changes."""
    return records(site.bootstrap, [f"{site.prefix}cx.alert.dlq"])


def buried(site: Site) -> list[dict[str, Any]]:
    """The changes among them."""
    return [json.loads(r.value or b"") for r in dead_changes(site)]


def promoters(first: int) -> list[tuple[str, bytes | None, bytes]]:
    """Answers of nine and ten, many more than there were before."""
    return [a for i, a in enumerate(answers(first, 1_100), first) if i % 11 >= 9]


def test_no_change_is_lost_by_kill_9_and_what_fires_is_kept_alive(
    sites: Sites, broker: Broker, new_alertmanager: NewAlertmanager, tmp_path: Path
) -> None:
    manager = new_alertmanager()
    with hook() as it:
        secret = f"{it.url}/refusing?token=c4nary".replace("://", "://c4nary:c4nary@")
        (tmp_path / "refusing").write_text(secret)
        more = _CONFIG.format(url=it.url, manager=manager.url)
        site = sites(broker.bootstrap, more=more, head='evaluate = "1s"')
        worker = site.worker()
        worker.until_ready()
        told_of: list[dict[str, Any]] = []

        def die_before_the_acknowledgement() -> None:
            if worker.exit_code is None:
                told = ("alertmanager", "sent")
                until(lambda: notifications(worker).get(told), 60, "Alertmanager was not told")
                until(lambda: acknowledged(site, "alertmanager") > 0, 60, "not acknowledged")
                # Once nobody tells it again, the alert soon ends.
                told_of.extend(until(manager.alerts, 60, "Alertmanager has forgotten it"))
                worker.kill()

        it.before = die_before_the_acknowledgement
        site.send(*answers(0, 20))
        until(lambda: worker.exit_code is not None, 60, "no delivery")
        (alert,) = told_of

        again = site.worker()
        again.until(lambda: len(it.told["/good"]) > 1, "delivered again")
        first, second = it.told["/good"]
        assert first == second
        assert (first["rule"], first["to"]) == ("NpsLow", "firing")

        # An alert that is told once ends after four seconds.
        refreshed = ("alertmanager", "refreshed")
        again.until(lambda: notifications(again)[refreshed] > 0, "told again what fires")
        before = notifications(again)[refreshed]
        again.until(lambda: notifications(again)[refreshed] > before + 4, "told it again and again")
        (still,) = until(manager.alerts, 60, "it is not kept alive")
        assert (still["labels"], still["startsAt"]) == (alert["labels"], alert["startsAt"])
        assert still["annotations"]["description"] == first["explanation"]
        assert notifications(again)["alertmanager", "sent"] == 0

        site.send(*promoters(1_000))
        again.until(lambda: not manager.alerts(), "resolved the alert")
        again.until(lambda: len(it.told["/good"]) > 2, "told of the end")
        assert it.told["/good"][2]["to"] == "resolved"
        sent = ("alertmanager", "sent")
        again.until(lambda: notifications(again)[sent] > 0, "counted what was sent")
        assert notifications(again)[sent] == 1
        # All that went on beside a sink that hangs.
        assert [told["id"] for told in it.told["/hanging"][-1:]] == [first["id"]]
        assert notifications(again)["hanging", "sent"] == 0

        dropped = ("refusing", "dropped")
        again.until(lambda: notifications(again)[dropped] > 0, "given up")
        both = {first["id"], it.told["/good"][2]["id"]}
        again.until(lambda: {told["id"] for told in buried(site)} >= both, "buried both")
        assert "c4nary" not in again.page("/metrics")[1] + again.log() + worker.log()
        again.terminate()
        assert {told["id"] for told in buried(site)} == both
        dead = dead_changes(site)
        assert dead[0].reasons["cxkpi.reason"] == "answer 404"
        assert dead[0].reasons["cxkpi.field"] == "sink refusing"
