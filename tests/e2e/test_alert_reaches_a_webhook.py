"""One alert on its whole way: worker, Prometheus with the exported rules, Alertmanager, webhook."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stream.broker import Broker
from stream.clock import now_ms
from stream.core.timestamps import format_ms
from tests.e2e import commands
from tests.fixtures.alertmanager import NewAlertmanager
from tests.fixtures.prometheus import Prometheus, PrometheusTools
from tests.kafka.workers import PATIENCE, WorkerProcess

RULES = """\
evaluate = "1s"

[[window]]
size = "4m"
pane = "1s"

[[alert]]
name = "csat low"
kpi = "csat"
window = "4m"
by = ["region"]
below = 0.5
clear = 0.6
for = "2s"
significant = true
severity = "critical"
summary = "Too few customers are satisfied."
runbook_url = "https://wiki.example/csat"
"""
#: For more than two evaluations no longer below, and not yet back.
BETWEEN = 'min_over_time(cx_csat_ratio{region="emea", channel=""}[4s]) > 0.5'


class Webhook(ThreadingHTTPServer):
    """Takes what Alertmanager posts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.alerts: list[dict[str, Any]] = []

    def of(self, name: str, status: str) -> list[dict[str, Any]]:
        """The posted alerts of a name and status."""
        return [
            alert
            for alert in list(self.alerts)
            if (alert["labels"]["alertname"], alert["status"]) == (name, status)
        ]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Webhook)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.alerts += body["alerts"]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def answers(file: Path, score: int, count: int) -> Path:
    """Answers of one region, given now."""
    at = now_ms()
    events = (
        {
            "event_id": f"{score}-{number}",
            "type": "survey.responded",
            "occurred_at": format_ms(at),
            "response_id": f"{score}-{number}",
            "survey": "csat",
            "score": score,
            "labels": {"region": "emea", "channel": "web"},
        }
        for number in range(count)
    )
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return file


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.1)


def evaluated(prometheus: Prometheus) -> set[str]:
    """How the evaluation of the rules, those on the pipeline among them, went."""
    groups = prometheus.api("rules")["groups"]
    assert len(groups) == 2
    return {rule["health"] for group in groups for rule in group["rules"]}


def firing(worker: WorkerProcess) -> bool:
    return any(s.name == "cx_alert_firing" and s.value == 1 for s in worker.scrape())


def test_an_alert_fires_at_the_webhook_and_is_resolved_there(
    broker: Broker,
    prometheus_tools: PrometheusTools,
    new_alertmanager: NewAlertmanager,
    webhook: Webhook,
    tmp_path: Path,
) -> None:
    config = commands.configuration(tmp_path / "cxkpi.toml", broker.bootstrap, "e2e-page", RULES)
    rules = tmp_path / "rules.yml"
    pager = new_alertmanager(f"http://127.0.0.1:{webhook.server_port}/")
    commands.run("rules", "export", "--config", config, "--output", rules)
    with WorkerProcess(config, tmp_path / "worker.log") as worker:
        worker.until_ready()
        target = worker.url.removeprefix("http://")
        prometheus = Prometheus.scraping(
            prometheus_tools,
            tmp_path / "prometheus",
            [target],
            rules=rules,
            alertmanager=pager.url.removeprefix("http://"),
        )
        with prometheus:
            commands.run("send", answers(tmp_path / "bad", 1, 40), "--config", config)
            until(lambda: webhook.of("CsatLow", "firing"), "the webhook is told that it fires")
            # Prometheus and the worker look at their rules each in its own time.
            until(lambda: firing(worker), "the worker's own rule fires")
            # Between the two limits nothing changes.
            commands.run("send", answers(tmp_path / "fair", 4, 48), "--config", config)
            until(lambda: prometheus.query(BETWEEN), "the value is between the limits for a while")
            assert prometheus.query('ALERTS{alertname="CsatLow", alertstate="firing"}')
            assert firing(worker)
            assert not webhook.of("CsatLow", "resolved")
            commands.run("send", answers(tmp_path / "good", 5, 400), "--config", config)
            until(lambda: webhook.of("CsatLow", "resolved"), "the webhook is told that it is over")
            until(lambda: not firing(worker), "the worker's own rule is over")
            assert evaluated(prometheus) == {"ok"}
    fired, resolved = webhook.of("CsatLow", "firing")[0], webhook.of("CsatLow", "resolved")[0]
    assert fired["labels"] == {
        "alertname": "CsatLow",
        "job": "cxkpi",
        "kpi": "csat",
        "region": "emea",
        "rule": "csat low",
        "severity": "critical",
        "window": "4m",
    }
    assert fired["annotations"] == {
        "summary": "Too few customers are satisfied.",
        "description": "Customer satisfaction for region emea over 4m is 0%; it was surely below"
        " 50%.",
        "runbook_url": "https://wiki.example/csat",
    }
    assert (resolved["labels"], resolved["startsAt"]) == (fired["labels"], fired["startsAt"])
    assert {alert["labels"]["alertname"] for alert in webhook.alerts} == {"CsatLow"}
