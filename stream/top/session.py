"""Watching a worker: fetch, remember, show, and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.live import Live

from stream.core.kpi import Kpi
from stream.core.series import Sample, rollup_of
from stream.top.address import Address, Unreachable
from stream.top.numbers import count, interval, number, rate, safe
from stream.top.screen import Screen, clock, labels_text
from stream.top.snapshot import NotExposed, NoWorker, Snapshot, read
from stream.top.trends import (
    Change,
    Trends,
    shown_part,
    totals,
    without_data,
    worst_segments,
)
from stream.top.until import Until

#: How long a worker may take to answer, in seconds.
_TIMEOUT = 5.0
_PLAIN_SEGMENTS = 3

#: What a later look may meet: a worker that is restarted is gone, then has no series for a while.
LOST = (Unreachable, NoWorker, NotExposed)


class Session:
    """The view of one worker."""

    def __init__(
        self,
        address: Address,
        kpis: Mapping[str, Kpi],
        *,
        window: str | None = None,
        by: tuple[str, ...] | None = None,
    ) -> None:
        self.address = address
        self.trends = Trends()
        self.kpis = kpis
        self._window = window
        self._by = tuple(sorted(by)) if by else None
        self.screen = Screen(str(address), self.trends, kpis, self._by)

    def poll(self) -> list[Change]:
        """Take in the worker's present page; gives the alert changes since the one before.

        Raises Unreachable, NoWorker, or NotExposed for a window or label that isn't there.
        """
        text = self.address.fetch(_TIMEOUT)
        try:
            snapshot = read(text, time.time(), self.kpis, self._window)
        except NoWorker as error:
            raise NoWorker(f"{self.address} {error}") from error
        if self._by is not None and snapshot.samples:
            rollups = sorted({rollup_of(labels) for _, labels in snapshot.samples} - {()})
            if self._by not in rollups:
                known = ", ".join("+".join(rollup) for rollup in rollups) or "no rollup"
                asked = "+".join(self._by)
                raise NotExposed(f"there are no series by {asked}; the worker has {known}")
        if snapshot.ready is False:
            snapshot = replace(snapshot, reason=self.address.why_not_ready(_TIMEOUT))
        return self.trends.observe(snapshot)

    @property
    def latest(self) -> Snapshot:
        """The snapshot of the latest successful poll."""
        if self.trends.latest is None:
            raise RuntimeError("no poll has succeeded yet")
        return self.trends.latest

    def live(
        self,
        console: Console,
        every: float,
        until: Until,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Draw every ``every`` seconds, until the time is over or Ctrl-C.

        An address that answered once and then no longer is tried again, and the screen says so.
        What ``check`` raises ends it.
        """
        lost: float | None = None
        with Live(self.screen, console=console, screen=True, auto_refresh=False) as live:
            live.refresh()
            while not until.wait(every):
                check()
                try:
                    self.poll()
                    lost = self.screen.problem = None
                except LOST as error:
                    lost = lost or time.time()
                    self.screen.problem = f"{error}; tried again since {clock(lost)}"
                live.refresh()

    def lines(self, changes: list[Change]) -> Iterator[str]:
        """The latest snapshot as plain lines, each beginning with its time."""
        snapshot = self.latest
        at = clock(snapshot.taken)
        rates = self.trends.rates()
        if snapshot.ready is False:
            yield f"{at} not ready" + (f": {safe(snapshot.reason)}" if snapshot.reason else "")
        elif part := shown_part(snapshot, self.kpis):
            yield f"{at} {part}"
        for sample in totals(snapshot, self.kpis):
            if sample.value is not None:
                yield f"{at} {self._sample_text(sample)}"
        if lacking := without_data(snapshot, self.kpis):
            yield f"{at} no data yet: {', '.join(lacking)}"
        for segment in worst_segments(snapshot, self.kpis, self._by)[:_PLAIN_SEGMENTS]:
            total = number(segment.total.value, self.kpis[segment.sample.kpi].unit)
            yield f"{at} worse {self._sample_text(segment.sample)} total={total}"
        firing = {alert for alert, fires in snapshot.alerts.items() if fires}
        changed = {change.alert for change in changes}
        told = [(alert, True) for alert in sorted(firing - changed)]
        for alert, fires in [*told, *((change.alert, change.firing) for change in changes)]:
            rule, severity, labels = alert
            words = ("alert", safe(rule), labels_text(labels), "firing" if fires else "resolved")
            yield " ".join(filter(None, (at, *words, f"severity={safe(severity)}")))
        outcomes = [f"{safe(k)}={count(v)}" for k, v in sorted(snapshot.outcomes.items()) if v]
        speed = [] if rates is None else [rate(sum(rates.values()))]
        lag = [] if snapshot.lag is None else [f"lag={count(snapshot.lag)}"]
        if parts := (*speed, *outcomes, *lag):
            yield " ".join((at, "events", *parts))

    def _sample_text(self, sample: Sample) -> str:
        unit = self.kpis[sample.kpi].unit
        bounds = interval(sample.lower, sample.upper, unit)
        parts = (
            sample.kpi,
            labels_text(sample.labels),
            number(sample.value, unit).replace(" ", ""),
            f"({bounds})" if bounds else "",
            "" if sample.denominator is None else f"n={count(sample.denominator)}",
        )
        return " ".join(filter(None, parts))

    def document(self) -> dict[str, Any]:
        """The latest snapshot as data for JSON; times in seconds since the epoch."""
        snapshot = self.latest
        return {
            "address": str(self.address),
            "at": snapshot.taken,
            "evaluated": snapshot.evaluated,
            "window": snapshot.window,
            "windows": list(snapshot.windows),
            "covered": snapshot.covered,
            "ready": bool(snapshot.ready),
            "reason": snapshot.reason,
            "topics": sorted(snapshot.topics),
            "events_per_second": self.trends.rates(),
            "outcomes": snapshot.outcomes,
            "lag": snapshot.lag,
            "dead_letters": snapshot.dead_letters,
            "kpis": [sample.row() for _, sample in sorted(snapshot.samples.items())],
            "worst_segments": [
                {"worse": segment.worse, **segment.sample.row()}
                for segment in worst_segments(snapshot, self.kpis, self._by)
            ],
            "alerts": [
                {"rule": rule, "severity": severity, "labels": dict(labels), "firing": firing}
                for (rule, severity, labels), firing in sorted(snapshot.alerts.items())
            ],
        }
