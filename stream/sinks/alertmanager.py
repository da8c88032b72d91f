"""Prometheus Alertmanager, API v2: it routes, silences, groups and pages.

An alert there is its labels. It stays while it is posted again before its ``endsAt``, so all that
fires is posted again all the time; what is not, for want of a worker, ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stream.clock import now_ms
from stream.core.alerts import Change, rfc3339
from stream.sinks.http import Poster
from stream.sinks.sink import Rejected, SinkSettings
from stream.sinks.wording import contributors, limited, links, measured

PATH: Final = "/api/v2/alerts"
#: A firing alert ends by itself after so many times the time between two posts, as it does where
#: Prometheus posts: three posts may get lost.
LASTS: Final = 4
#: So many alerts are posted at once.
BATCH: Final = 200
#: Labels that an alert gets from us; a dimension of such a name is called ``exported_…``.
OWN_LABELS: Final = frozenset({"alertname", "severity", "kpi", "window"})


class Alertmanager:
    """Posts each change, and again and again what fires."""

    def __init__(self, settings: SinkSettings) -> None:
        self._poster = Poster(settings, PATH)
        self._token = settings.secret
        self.refresh_ms = settings.refresh_ms
        #: One post at a time: what is posted again must not overtake the news of its end.
        self._turn = asyncio.Lock()

    async def deliver(self, change: Change) -> None:
        """Post the change."""
        async with self._turn:
            await self._post([change])

    async def keep(self, firing: Iterable[Change]) -> bool:
        """Post again what fires, if anything does; ``firing`` is asked when it is our turn.

        Raises:
            Retry: the rest was not posted.
            Rejected: some were refused, and all others posted.
        """
        refused: list[Rejected] = []
        async with self._turn:
            changes = list(firing)
            for first in range(0, len(changes), BATCH):
                try:
                    await self._post(changes[first : first + BATCH])
                except Rejected as error:
                    # It will be refused each time, and those behind it would end by themselves.
                    refused.append(error)
        if refused:
            raise refused[0]
        return bool(changes)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    async def _post(self, changes: Sequence[Change]) -> None:
        ends = now_ms() + LASTS * self.refresh_ms
        body = msgspec.json.encode([alert(change, ends) for change in changes])
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        await self._poster.post(body, headers)


def alert(change: Change, ends: int) -> dict[str, Any]:
    """A change as an alert of the API; one that fires ends at ``ends`` (ms) if no more is heard.

    Its labels are the same whatever was measured, for they are what it is known by.
    """
    resolved = change.to == "resolved"
    posted = {
        "labels": alert_labels(change),
        "annotations": alert_annotations(change),
        "startsAt": change.started_at,
        "endsAt": change.changed_at if resolved else rfc3339(ends),
    }
    dashboard = dict(links(change)).get("Dashboard")
    return posted if dashboard is None else {**posted, "generatorURL": dashboard}


def alert_labels(change: Change) -> dict[str, str]:
    """What the alert is known by and routed by: the rule, and the labels of its series."""
    of_series = {_exported(name, change.labels): text for name, text in change.labels.items()}
    return {
        **of_series,
        "alertname": change.rule,
        "severity": change.severity,
        "kpi": change.kpi,
        "window": change.window,
    }


def _exported(name: str, taken: Container[str]) -> str:
    """The name, with Prometheus's prefix where it is one of ours; never that of another label."""
    if name not in OWN_LABELS:
        return name
    name = f"exported_{name}"
    while name in taken:
        name = f"exported_{name}"
    return name


def alert_annotations(change: Change) -> Mapping[str, str]:
    """What the alert says; what is not known is left out."""
    numbers = {
        name: (limited if name == "threshold" else measured)(change, value)
        for name in ("value", "lower", "upper", "threshold")
        if (value := getattr(change, name)) is not None
    }
    said = {
        "summary": change.summary,
        "description": change.explanation,
        "contributors": "; ".join(contributors(change)),
        "runbook_url": change.runbook_url,
        "dashboard_url": dict(links(change)).get("Dashboard", ""),
        "change_id": change.id,
    }
    return numbers | {name: text for name, text in said.items() if text}
