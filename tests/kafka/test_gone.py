"""What a worker does about records that are gone before it has read them, with none behind them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from tests.kafka.conftest import Site
from tests.kafka.test_outages import accepted, answers
from tests.kafka.test_trouble import counted, refused
from tests.kafka.topics import administer
from tests.kafka.workers import WorkerProcess

TOPIC = "cx.survey"
#: A fetch that was on its way when a worker was frozen must not bring what comes then.
IN_FLIGHT_SECONDS = 0.5


@contextmanager
def asleep(worker: WorkerProcess) -> Iterator[None]:
    worker.freeze()
    time.sleep(IN_FLIGHT_SECONDS)
    yield
    worker.thaw()


def delete_all(site: Site) -> None:
    parts = [TopicPartition(site.source(TOPIC), n) for n in range(4)]
    everything = dict.fromkeys(parts, RecordsToDelete(before_offset=-1))
    administer(site.bootstrap, lambda admin: admin.delete_records(everything))


def of_answers(worker: WorkerProcess, name: str) -> float:
    """A number of the topic of answers."""
    of = ("topic", TOPIC)
    return sum(s.value for s in worker.scrape() if s.name == name and of in s.labels.items())


def test_records_deleted_up_to_the_end_are_counted_as_gone_before_any_other_comes(
    site: Site,
) -> None:
    worker = counted(site, 20)
    with asleep(worker):
        site.send(*answers(20, 40))
        delete_all(site)

    def gone() -> float:
        return of_answers(worker, "cx_worker_gap_records_total")

    worker.until(lambda: accepted(worker) + gone() == 60, "counted what was there and what was not")
    worker.until(lambda: of_answers(worker, "cx_worker_lag_records") == 0, "gone on behind them")
    site.send(*answers(60, 20))
    worker.until(lambda: accepted(worker) + gone() == 80, "counted what came then")
    assert 0 < gone() <= 40


def test_a_source_that_is_made_anew_is_noticed_while_it_is_empty(site: Site) -> None:
    source = site.source(TOPIC)
    worker = counted(site, 20)
    with asleep(worker):
        administer(site.bootstrap, lambda admin: admin.delete_topics([source]))
        time.sleep(1)
        anew = [NewTopic(source, 4, 1)]
        administer(site.bootstrap, lambda admin: admin.create_topics(anew))
    assert "it was made anew" in refused(worker)
