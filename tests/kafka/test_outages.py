"""Brokers that are away, topics that are others, and how a worker ends."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest

from stream.broker import Broker
from stream.broker.ports import free_port
from stream.core.catalogue import KPIS
from stream.core.timestamps import format_ms
from tests.kafka.conftest import Site, Sites
from tests.kafka.truth import outcomes
from tests.kafka.workers import WorkerProcess

EVALUATED = "cx_evaluated_timestamp_seconds"


def answers(first: int, count: int) -> list[tuple[str, bytes | None, bytes]]:
    """Good NPS answers of this moment."""
    at = format_ms(time.time_ns() // 10**6)
    return [
        (
            "cx.survey",
            f"r{i}".encode(),
            orjson.dumps(
                {
                    "event_id": f"e{i}",
                    "type": "survey.responded",
                    "occurred_at": at,
                    "response_id": f"r{i}",
                    "survey": "nps",
                    "score": i % 11,
                }
            ),
        )
        for i in range(first, first + count)
    ]


def accepted(worker: WorkerProcess) -> int:
    return sum(n for (_, outcome), n in outcomes(worker.scrape()).items() if outcome == "accepted")


def test_a_worker_waits_for_a_broker_and_says_so(
    sites: Sites, new_broker: Callable[..., Broker]
) -> None:
    port = free_port()
    worker = sites(f"127.0.0.1:{port}").worker()
    worker.until(
        lambda: "no Kafka broker answers" in worker.page("/readyz")[1], "said what is wrong"
    )
    assert worker.page("/readyz")[0] == 503
    assert worker.page("/healthz")[0] == 200
    said = [line for line in worker.log().splitlines() if "no Kafka broker answers" in line]
    assert len(said) == 1
    new_broker(port=port).start()
    worker.until_ready()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_broker_that_goes_and_comes_back_costs_no_event_and_doubles_none(
    sites: Sites, new_broker: Callable[..., Broker], how: str
) -> None:
    broker = new_broker()
    broker.start()
    site = sites(broker.bootstrap)
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, 500))
    worker.until(lambda: accepted(worker) == 500, "counted what came before the outage")
    getattr(broker, how)()
    time.sleep(10)
    assert worker.exit_code is None
    worker.until(lambda: "no Kafka broker answers" in worker.log(), "said so")
    assert len(worker.log().splitlines()) < 60
    broker.start()
    site.send(*answers(500, 500))
    worker.until(lambda: worker.ready() and accepted(worker) == 1000, "counted what came after")
    worker.until(lambda: "Kafka answers again" in worker.log(), "said that it is ready again")
    # Of a flush that the end of the broker has cut short there may be a word, too.
    said = [line for line in worker.log().splitlines() if " INFO stream.kafka.readiness" in line]
    assert [line.split(": ready: ")[-1].split(",")[0] for line in said[:1]] == ["4 of 4 shards"]
    assert ["; ready: 4 of 4 shards" in line for line in said[1:]] == [True], said
    restarted = site.worker()
    worker.terminate()
    assert worker.log().endswith("INFO stream.wiring: stopped\n")
    restarted.until(lambda: restarted.ready() and accepted(restarted) == 1000, "agreed")
    before = len(restarted.log().splitlines())
    getattr(broker, how)()
    restarted.until(lambda: "no Kafka broker answers" in restarted.log(), "said so")
    about = [line for line in restarted.log().splitlines()[before:] if "aiokafka" in line]
    assert 1 <= len(about) <= 3, about
    restarted.terminate()
    assert restarted.exit_code == 0
    log = restarted.log()
    assert "Traceback" not in log, log
    assert log.count("INFO stream.wiring: stopped while no Kafka broker answers") == 1, log


def test_sigterm_ends_a_worker_within_seconds_and_its_counts_are_durable(site: Site) -> None:
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, 300))
    worker.until(lambda: accepted(worker) == 300, "counted every answer")
    assert worker.terminate() < 30
    assert worker.exit_code == 0
    again = site.worker()
    again.until(lambda: again.ready() and accepted(again) == 300, "shown what was durable")


def shown(worker: WorkerProcess, gauge: str) -> float | None:
    """The total of a gauge in the longest window, if this worker shows it."""
    found = [s.value for s in worker.scrape() if s.name == gauge and s.labels == {"window": "7d"}]
    return found[0] if found else None


def test_a_series_is_shown_by_one_of_two_workers_as_the_total(site: Site) -> None:
    first = site.worker()
    first.until_ready()
    site.send(*answers(0, 200))
    first.until(lambda: shown(first, "cx_nps_denominator") == 200, "shown the total")
    second = site.worker()
    second.until(lambda: "of 4 shards" in second.page("/readyz")[1], "said its share")
    workers = (first, second)

    def denominators() -> list[float]:
        values = (shown(worker, "cx_nps_denominator") for worker in workers)
        return [value for value in values if value is not None]

    site.send(*answers(200, 100))
    second.until(lambda: denominators() == [300], "shown all events by one of them")
    second.until_ready()
    # What is told by currency has no series before the first payment.
    everything = {k.id for k in KPIS.values() if not k.labels}
    families: list[set[str]] = []

    def are_all_shown() -> bool:
        families[:] = [
            {s.labels["kpi"] for s in w.scrape() if s.name == EVALUATED} for w in workers
        ]
        return set.union(*families) == everything

    first.until(are_all_shown, "shown its part of all families")
    assert families[0] & families[1] == set()
    assert all(families), "both have a part of the work"
    second.terminate()
    first.until(lambda: shown(first, "cx_nps_denominator") == 300, "taken all over again")


def test_a_state_of_other_dimensions_is_brought_over_and_the_worker_says_so(
    sites: Sites, broker: Broker
) -> None:
    site = sites(broker.bootstrap)
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, 10))
    worker.until(lambda: accepted(worker) == 10, "counted")
    worker.terminate()
    other = sites(broker.bootstrap, head='dimensions = ["country"]\nrollups = [[]]', like=site)
    changed = other.worker()
    changed.until(lambda: changed.ready() and shown(changed, "cx_nps_denominator") == 10, "kept")
    said = [line for line in changed.log().splitlines() if "dimension" in line]
    assert any("dropped" in line for line in said)
    assert "Traceback" not in changed.log()
