"""What Alertmanager is told, and what a real one makes of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping

import msgspec
import pytest

from stream.core.alerts import Change, Contributor
from stream.core.timestamps import format_ms, parse
from stream.sinks.alertmanager import BATCH, LASTS, Alertmanager, alert, alert_labels
from stream.sinks.http import Poster
from stream.sinks.sink import Rejected, Retry
from tests.fixtures.alertmanager import NewAlertmanager
from tests.fixtures.prometheus import until
from tests.sinks.receiver import FakeSettings, Hidden, Receiver, change, receiver, status

ENDS = 1_777_885_200_000  # 2026-05-04 09:00 UTC
#: How often a real Alertmanager is told of an alert here, and how long it takes one that it is told
#: of once for firing.
REFRESH_MS = 750
LASTS_SECONDS = LASTS * REFRESH_MS / 1_000


def at(seconds_ago: float) -> str:
    return format_ms(int((time.time() - seconds_ago) * 1000))


def firing(**labels: str) -> Change:
    """A change of just now."""
    return msgspec.structs.replace(
        change(), labels=labels or {"region": "eu"}, started_at=at(60), changed_at=at(30)
    )


def resolved(one: Change) -> Change:
    return msgspec.structs.replace(one, from_="firing", to="resolved", changed_at=at(0))


def settings(url: str, refresh_ms: int = 60_000, token: str | None = None) -> FakeSettings:
    secret = Hidden(token) if token else None
    return FakeSettings("alertmanager", Hidden(url), secret, refresh_ms=refresh_ms)


def test_an_alert_is_known_by_its_rule_and_its_series_alone() -> None:
    one = change()
    other = msgspec.structs.replace(one, value=0.1, lower=None, explanation="Much worse.")
    assert alert_labels(one) == {
        "alertname": "CsatLow",
        "severity": "critical",
        "kpi": "csat",
        "window": "5m",
        "region": "eu",
    }
    assert alert_labels(one) == alert_labels(other) == alert_labels(resolved(one))


def test_a_dimension_does_not_take_the_place_of_our_own_label() -> None:
    labels = {"alertname": "x", "exported_alertname": "y", "region": "eu"}
    told = alert_labels(msgspec.structs.replace(change(), labels=labels))
    assert (told["alertname"], told["exported_alertname"]) == ("CsatLow", "y")
    assert told["exported_exported_alertname"] == "x"


def test_an_alert_says_what_was_measured() -> None:
    one = msgspec.structs.replace(
        change(),
        summary="Customers are unhappy",
        runbook_url="http://wiki/csat",
        contributors=(Contributor({"region": "eu", "channel": "web"}, -0.08, 0.2, 10, 50),),
    )
    assert alert(one, ENDS)["annotations"] == {
        "summary": "Customers are unhappy",
        "description": "It is worse.",
        "runbook_url": "http://wiki/csat",
        "value": "40%",
        "lower": "30%",
        "upper": "50%",
        "threshold": "50%",
        "contributors": "channel web, region eu: -8 points, now 20%",
        "change_id": one.id,
    }


def test_what_is_not_known_is_left_out() -> None:
    bare = msgspec.structs.replace(
        change(), value=None, lower=None, upper=None, threshold=None, explanation=""
    )
    assert alert(bare, ENDS)["annotations"] == {"change_id": bare.id}


def test_a_firing_alert_ends_by_itself_and_a_resolved_one_has_ended() -> None:
    assert alert(change(), ENDS)["endsAt"] == "2026-05-04T09:00:00Z"
    ended = alert(change("resolved"), ENDS)
    assert (ended["startsAt"], ended["endsAt"]) == ("2026-05-04T08:00:00Z", "2026-05-04T08:00:05Z")


async def told(url: str, one: Change, token: str | None = None) -> None:
    sink = Alertmanager(settings(url, token=token))
    await sink.deliver(one)
    await sink.close()


@pytest.mark.parametrize("root", ["", "/", "/am", "/am/"])
async def test_the_api_is_found_below_the_root(root: str) -> None:
    async with receiver() as it:
        await told(it.url.removesuffix("/hook/s3cret-path") + root, change())
    assert it.paths == [root.rstrip("/") + "/api/v2/alerts"]


async def test_a_secret_is_the_bearer_token() -> None:
    async with receiver() as it:
        await told(it.url, change(), "t0ken")
    assert it.headers[0]["Authorization"] == "Bearer t0ken"


def posted(it: Receiver) -> list[int]:
    return [len(json.loads(body)) for body in it.bodies]


async def test_what_fires_is_told_again_in_batches() -> None:
    changes = [firing(region=f"r{n}") for n in range(BATCH + 1)]
    async with receiver() as it:
        sink = Alertmanager(settings(it.url))
        assert await sink.keep(changes)
        assert not await sink.keep([])
        await sink.close()
    assert posted(it) == [BATCH, 1]


@pytest.mark.parametrize(
    ("answers", "batches", "raised"),
    [
        # What it refuses it refuses whatever comes with the others.
        ([200, 400, 200], 3, (Rejected, "answer 400")),
        ([400, 422, 200], 3, (Rejected, "answer 400")),
        # Who is down would be waited for once more for each batch.
        ([200, 503, 200], 2, (Retry, "answer 503")),
        ([400, 503, 200], 2, (Retry, "answer 503")),
    ],
)
async def test_a_batch_that_is_refused_keeps_no_other_from_being_told(
    answers: list[int], batches: int, raised: tuple[type[Exception], str]
) -> None:
    changes = [firing(region=f"r{n}") for n in range(2 * BATCH + 1)]
    async with receiver(map(status, answers)) as it:
        sink = Alertmanager(settings(it.url))
        with pytest.raises(raised[0], match=raised[1]):
            await sink.keep(changes)
        await sink.close()
    assert posted(it) == [BATCH, BATCH, 1][:batches]


async def test_news_of_an_end_and_what_fires_do_not_overtake_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    #: Whether each region's alert has ended, by post.
    told_of: list[dict[str, bool]] = []
    answers = asyncio.Event()

    async def post(_: Poster, body: bytes, headers: Mapping[str, str]) -> None:
        told_of.append(
            {one["labels"]["region"]: one["endsAt"] == ended.changed_at for one in json.loads(body)}
        )
        await answers.wait()

    async def settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    monkeypatch.setattr(Poster, "post", post)
    sink = Alertmanager(settings("http://127.0.0.1:9"))
    eu, us = firing(region="eu"), firing(region="us")
    ended = resolved(eu)
    fires = [eu, us]
    async with asyncio.TaskGroup() as group:
        group.create_task(sink.keep(fires))
        await settle()
        group.create_task(sink.deliver(ended))
        await settle()
        group.create_task(sink.keep(one for one in fires))
        await settle()
        # What fires is asked for when the round begins, not when it is due.
        fires.remove(eu)
        assert told_of == [{"eu": False, "us": False}]
        answers.set()
    assert told_of == [{"eu": False, "us": False}, {"eu": True}, {"us": False}]


async def test_a_real_alertmanager_keeps_groups_and_resolves_alerts(
    new_alertmanager: NewAlertmanager,
) -> None:
    async with receiver() as pager:
        manager = await asyncio.to_thread(new_alertmanager, pager.url)
        sink = Alertmanager(settings(manager.url, refresh_ms=REFRESH_MS))
        eu, us = firing(region="eu"), firing(region="us")
        # It writes fewer digits than we do where they are zeros.
        begun = {parse(eu.started_at), parse(us.started_at)}
        for one in (eu, us):
            await sink.deliver(one)

        # Longer than an alert lasts that is told once, and than `resolve_timeout`.
        since = time.monotonic()
        while time.monotonic() < since + LASTS_SECONDS + 0.5:
            told_at = time.monotonic()
            await sink.keep([eu, us])
            await asyncio.sleep(0.5)
            active = await asyncio.to_thread(manager.alerts)
            groups = await asyncio.to_thread(manager.groups)
            if time.monotonic() > told_at + LASTS_SECONDS:
                # The machine was so busy that they may have ended: once more.
                since = time.monotonic()
                continue
            assert [a["labels"]["region"] for a in active] == ["eu", "us"]
            assert {parse(a["startsAt"]) for a in active} == begun
            assert [len(group["alerts"]) for group in groups] == [2]

        while True:
            told_at = time.monotonic()
            await sink.keep([eu])
            await sink.deliver(resolved(us))
            active = await asyncio.to_thread(manager.alerts)
            if time.monotonic() < told_at + LASTS_SECONDS:
                break
        assert [a["labels"]["region"] for a in active] == ["eu"]

        # Nobody tells it any more.
        await sink.close()

        def over() -> bool:
            return not manager.alerts() and _ended(pager, "eu") and _ended(pager, "us")

        await asyncio.to_thread(until, over, 120, "the alerts have not ended")
    fired = [a for body in pager.bodies for a in json.loads(body)["alerts"]]
    assert {parse(a["startsAt"]) for a in fired} == begun


def _ended(pager: Receiver, region: str) -> bool:
    """Whether the webhook behind Alertmanager was told that the alert is over."""
    return any(
        a["labels"]["region"] == region and a["status"] == "resolved"
        for body in pager.bodies
        for a in json.loads(body)["alerts"]
    )


def test_the_dashboard_is_where_the_alert_comes_from() -> None:
    one = msgspec.structs.replace(change(), dashboard_url="http://grafana/d/cxkpi?from=1")
    told_of = alert(one, ENDS)
    assert told_of["generatorURL"] == "http://grafana/d/cxkpi?from=1"
    assert told_of["annotations"]["dashboard_url"] == "http://grafana/d/cxkpi?from=1"
