"""Alerts of a worker: once each, and their states outlive the worker."""

from __future__ import annotations

import time

import orjson

from stream.broker import Broker
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_outages import accepted, answers
from tests.kafka.topics import records
from tests.kafka.workers import WorkerProcess

#: It takes all answers that are sent, as an evaluation may come between two of them.
_RULE = """
[[alert]]
name = "NpsLow"
kpi = "nps"
window = "5m"
below = 50
min_samples = 110
severity = "critical"
"""


def firing(worker: WorkerProcess) -> bool:
    return any(s.name == "cx_alert_firing" and s.value == 1 for s in worker.scrape())


def changes(site: Site) -> list[dict[str, object]]:
    found = records(site.bootstrap, [f"{site.prefix}cx.alert"])
    return [orjson.loads(r.value or b"") for r in found]


def test_an_alert_fires_once_and_is_still_firing_after_kill_9(sites: Sites, broker: Broker) -> None:
    site = sites(broker.bootstrap, more=_RULE, head='evaluate = "1s"')
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, 110))
    worker.until(lambda: firing(worker), "fired")
    worker.kill()
    again = site.worker()
    again.until(lambda: again.ready() and firing(again), "known what was firing")
    time.sleep(3)
    (change,) = changes(site)
    assert (change["rule"], change["from"], change["to"]) == ("NpsLow", "inactive", "firing")
    assert change["denominator"] == 110
    assert str(change["explanation"]).startswith(
        "Net promoter score over 5m is -45.45 (95% sure: -58.69 to -29.8, n = 110), below 50 since "
    )


def test_windows_slide_on_without_events(sites: Sites, broker: Broker) -> None:
    site = sites(broker.bootstrap, more='[[window]]\nsize = "6s"\npane = "1s"')
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, 20))
    worker.until(lambda: accepted(worker) == 20, "counted")

    def denominators() -> list[float]:
        # There is none while a worker that stood still joins its group again.
        return [
            s.value
            for s in worker.scrape()
            if s.name == "cx_nps_denominator" and s.labels == {"window": "6s"}
        ]

    worker.until(lambda: denominators() == [0], "let the window slide")
    assert not [s for s in worker.scrape() if s.name == "cx_nps" and s.labels == {"window": "6s"}]
