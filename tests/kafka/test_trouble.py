"""What a worker does when something under it breaks: it says what, and ends cleanly if it must."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.broker import Broker
from stream.config import KafkaConfig
from stream.kafka.log import Outgoing, TransactionalWriter
from tests.kafka.conftest import Site, Sites
from tests.kafka.test_outages import accepted, answers
from tests.kafka.topics import administer, await_topics
from tests.kafka.workers import WorkerProcess

NewBroker = Callable[..., Broker]


def create(site: Site, configs: Mapping[str, Mapping[str, str]], partitions: int = 4) -> None:
    """Create topics, each with settings of its own, and wait until they and these are known."""
    topics = [NewTopic(t, partitions, 1, topic_configs=dict(c)) for t, c in configs.items()]
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, t, configs=dict.fromkeys(c))
        for t, c in configs.items()
        if c
    ]

    async def known(admin: AIOKafkaAdminClient) -> dict[str, dict[str, str]]:
        answers = await admin.describe_configs(asked)
        told = [resource for answer in answers for resource in answer.resources]
        return {topic: {key: value for key, value, *_ in own} for *_, topic, own in told}

    async def make(admin: AIOKafkaAdminClient) -> None:
        await admin.create_topics(topics)
        wanted = {topic: dict(c) for topic, c in configs.items() if c}
        for _ in range(100):
            if not asked or await known(admin) == wanted:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the settings are not known: {wanted}")

    administer(site.bootstrap, make)
    await_topics(site.bootstrap, dict.fromkeys(configs, partitions))


def delete(site: Site, *topics: str) -> None:
    """Delete topics, and wait until it is known that they are gone."""
    administer(site.bootstrap, lambda admin: admin.delete_topics(list(topics)))
    await_topics(site.bootstrap, dict.fromkeys(topics, 0))


def refused(worker: WorkerProcess) -> str:
    """The one line with which a worker refuses to go on."""
    assert worker.wait() == 2
    assert "Traceback" not in worker.log(), worker.log()
    return worker.log().strip().splitlines()[-1]


def counted(site: Site, n: int) -> WorkerProcess:
    """A worker that has counted answers."""
    worker = site.worker()
    worker.until_ready()
    site.send(*answers(0, n))
    worker.until(lambda: accepted(worker) == n, "counted")
    time.sleep(0.5)
    return worker


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_sigterm_ends_a_worker_within_5_s_though_its_broker_is_gone(
    sites: Sites, new_broker: NewBroker, how: str
) -> None:
    broker = new_broker()
    broker.start()
    worker = counted(sites(broker.bootstrap), 10)
    getattr(broker, how)()
    time.sleep(1)
    # A flush alone would be waited for as long as 15 s, and a request for 40 s.
    assert worker.terminate() < 14
    assert worker.exit_code == 0


def test_a_worker_whose_broker_is_gone_is_not_ready_and_says_why(
    sites: Sites, new_broker: NewBroker
) -> None:
    broker = new_broker()
    broker.start()
    worker = counted(sites(broker.bootstrap), 10)
    broker.kill()
    worker.until(
        lambda: "no Kafka broker answers" in worker.page("/readyz")[1], "said what is wrong"
    )
    assert worker.page("/readyz")[0] == 503
    assert not [s for s in worker.scrape() if s.name.startswith("cx_nps")]
    broker.start()
    worker.until(lambda: worker.ready() and accepted(worker) == 10, "come back")


def test_a_port_in_use_is_refused_in_one_line(sites: Sites, broker: Broker) -> None:
    first = sites(broker.bootstrap).worker()
    port = first.url.rsplit(":", 1)[1]
    site = sites(broker.bootstrap)
    site.file.write_text(site.file.read_text().replace("port = 0", f"port = {port}"))
    assert f"port {port} on 127.0.0.1 is in use" in refused(site.worker())


def test_a_source_topic_that_was_made_anew_is_refused_in_one_line(site: Site) -> None:
    worker = counted(site, 50)
    worker.terminate()
    survey = site.source("cx.survey")
    delete(site, survey)
    create(site, {survey: {}})
    line = refused(site.worker())
    assert survey in line
    assert "made anew" in line


def test_a_source_topic_that_vanishes_under_a_worker_stops_it_in_one_line(site: Site) -> None:
    worker = counted(site, 50)
    survey = site.source("cx.survey")
    delete(site, survey)
    line = refused(worker)
    assert survey in line
    assert "gone" in line


def test_a_source_topic_that_is_made_anew_under_a_worker_stops_it_in_one_line(site: Site) -> None:
    worker = counted(site, 50)
    survey = site.source("cx.survey")
    delete(site, survey)
    create(site, {survey: {}})
    site.send(*answers(100, 300))
    began = time.monotonic()
    line = refused(worker)
    # Whether its id or its end is looked at first is a matter of moments.
    assert f"topic {survey} " in line
    assert " was made anew" in line
    assert time.monotonic() - began < 60
    assert f"topic {survey} was made anew since it was read; " in refused(site.worker())


def test_dead_letters_that_could_not_take_every_record_are_refused_in_one_line(site: Site) -> None:
    create(site, {site.source("cx.visit") + ".dlq": {"max.message.bytes": "10000"}})
    line = refused(site.worker())
    assert site.source("cx.visit") + ".dlq" in line
    assert "max.message.bytes" in line


def test_a_record_of_nothing_at_all_and_one_with_endless_field_names_do_no_harm(site: Site) -> None:
    create(site, {site.source("cx.visit"): {}})
    kafka: KafkaConfig = site.config.kafka
    name = "n" * 500_000
    values = [None, b"", b'{"event_id":"e","labels":{"%s":1}}' % name.encode()]
    headers = [("trace", b"1"), ("empty", None), ("cxkpi.outcome", b"invalid")]

    async def send() -> None:
        writer = TransactionalWriter(kafka, f"{site.group}-test", 2_000_000)
        await writer.start()
        topic = site.source("cx.visit")
        await writer.write([Outgoing(topic, 0, None, value, headers) for value in values])
        await writer.stop()

    asyncio.run(send())
    worker = site.worker()
    worker.until_ready()
    worker.until(lambda: len(site.dead_letters()) >= 3, "written the dead letters")
    letters = site.dead_letters()
    assert [(r.key, r.value) for r in letters] == [(None, value) for value in values]
    for letter in letters:
        assert letter.headers[:2] == (("trace", b"1"), ("empty", None))
        assert [n for n, _ in letter.headers].count("cxkpi.outcome") == 1


def test_an_idle_worker_uses_little_cpu_and_logs_nothing(site: Site) -> None:
    # What there is to say of a worker that is paused is none of this.
    site.file.write_text(site.file.read_text().replace('"6s"', '"30s"'))
    worker = counted(site, 1_000)

    def cpu() -> float:
        return next(s.value for s in worker.scrape() if s.name == "process_cpu_seconds_total")

    time.sleep(2)
    before, said, began = cpu(), worker.log(), time.monotonic()
    time.sleep(8)
    share = (cpu() - before) / (time.monotonic() - began)
    # In a second less than a twentieth of what the start took, however slow the core; it is a
    # fiftieth on a machine that is not busy.
    assert share < before / 20
    assert worker.log() == said
