"""The company's subscriptions: how many there are, which ones, and what happens to them.

Those that were there at the start are not held in memory: each has a number below the segment's
count, they are cancelled in the order of a permutation of these numbers, and who renews is drawn
from those behind the point reached. So no subscription is cancelled twice or renewed afterwards.
When all of them are gone, those that started since take their place.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import orjson

from stream.core.settings import DAY
from stream.generate.draws import LABELS, Arrivals, Draws, Record, stamps
from stream.generate.profile import CHANNELS, CURRENCIES, JOURNEYS, PLANS, REGION_SHARES, REGIONS

#: Subscriptions that start are remembered up to this many per segment; the oldest then stay on.
_REMEMBERED = 20_000
_REASONS = ("price", "missing-feature", "support", "not-used", "competitor", "payment-failed")
_SHARE_OF_NEW = 0.15

_dump = orjson.dumps


class Segment:
    """The subscriptions of one channel in one region."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.active = count
        self._count = count
        self._gone = 0
        # A step without a common factor runs through all numbers before it comes back.
        self._step = int(count * 0.618) | 1
        while math.gcd(self._step, count) > 1:
            self._step -= 1
        self.started: deque[str] = deque(maxlen=_REMEMBERED)

    def present(self, share: float) -> str | None:
        """One that is still there, drawn by ``share`` in [0, 1); None where all are gone."""
        if left := self._count - self._gone:
            return self._id(self._gone + int(share * left))
        return self.started[int(share * len(self.started))] if self.started else None

    def leaves(self, new: bool) -> tuple[str | None, bool]:
        """The next one to be cancelled, None where all are gone; and whether it is a new one.

        ``new`` asks for one that started since; it is one too where no old one is left.
        """
        if self.started and (new or self._gone == self._count):
            return self.started.popleft(), True
        if self._gone == self._count:
            return None, False
        self._gone += 1
        return self._id(self._gone - 1), False

    def _id(self, place: int) -> str:
        return f"subscription-{self.name}-{place * self._step % self._count:07d}"


class Subscriptions:
    """Turns arrivals, in order of time, into records, and counts what is active."""

    def __init__(self, total: int, run: str) -> None:
        """``total`` subscriptions at the start; ``run`` makes their ids those of this company."""
        channels = next(j.channels for j in JOURNEYS if j.kind == "started")
        self._segments = [
            [
                Segment(f"{run}-{channel}-{region}", round(total * share * float(REGION_SHARES[r])))
                for r, region in enumerate(REGIONS)
            ]
            for channel, share in zip(CHANNELS, channels, strict=True)
        ]

    def bases(self, draw: Draws, at: int) -> list[Record]:
        """One ``subscription.base`` per segment: what is active at ``at``."""
        (stamp,) = stamps(np.array([at], dtype=np.int64))
        records: list[Record] = []
        for channel, row in enumerate(self._segments):
            for region, segment in enumerate(row):
                labels = LABELS[channel][region]
                (event,) = draw.hexes(1, 16)
                value = {
                    "event_id": event, "type": "subscription.base", "occurred_at": stamp,
                    "labels": labels, "active": segment.active,
                }  # fmt: skip
                records.append((at, "cx.subscription", _dump(labels), _dump(value)))
        return records

    def happen(self, draw: Draws, who: Arrivals, kinds: list[str]) -> list[Record]:
        """What happens to subscriptions; ``who`` is in order of time, ``kinds`` says what."""
        n = len(who)
        lifetimes = draw.rng.exponential(380 * DAY, n).clip(min=DAY).astype(np.int64)
        columns = zip(
            who.at.tolist(), stamps(who.at), kinds, draw.hexes(n, 16), draw.hexes(n, 8),
            draw.customers(who.region), who.labels(), who.channel.tolist(), who.region.tolist(),
            draw.rng.random(n).tolist(), draw.rng.random(n).tolist(),
            draw.pick(n, (0.4, 0.35, 0.2, 0.05)).tolist(), stamps(who.at - lifetimes), strict=True,
        )  # fmt: skip
        records: list[Record] = []
        for (
            at, stamp, kind, event, new, customer, labels, channel, region,
            share, chance, plan, since,
        ) in columns:  # fmt: skip
            segment = self._segments[channel][region]
            value: dict[str, Any] = {
                "event_id": event, "type": "subscription." + kind, "occurred_at": stamp,
                "customer_id": customer, "labels": labels,
            }  # fmt: skip
            if kind == "cancelled":
                name = self._cancel(segment, value, chance, since)
                value["reason"] = _REASONS[int(share * len(_REASONS))]
            else:
                name = self._pay(segment, value, kind, new, share, chance, plan)
                value["currency"] = CURRENCIES[region]
            if name is None:
                continue
            value["subscription_id"] = name
            records.append((at, "cx.subscription", name.encode(), _dump(value)))
        return records

    def _cancel(
        self, segment: Segment, value: dict[str, Any], chance: float, since: str
    ) -> str | None:
        """Who leaves: mostly one that was there at the start, which then says since when."""
        name, is_new = segment.leaves(chance < _SHARE_OF_NEW)
        if name is not None:
            segment.active -= 1
            if not is_new:
                value["started_at"] = since
        return name

    def _pay(
        self, segment: Segment, value: dict[str, Any], kind: str, new: str,
        share: float, chance: float, plan: int,
    ) -> str | None:  # fmt: skip
        """Who pays what: a start or renewal the plan's price, an upgrade what it adds too."""
        plan_name, price = PLANS[plan]
        name: str | None
        if kind == "started":
            name = f"subscription-{new}"
            segment.started.append(name)
            segment.active += 1
        else:
            name = segment.present(share)
        value["plan"] = plan_name
        value["amount"] = price
        if kind == "upgraded":
            plan_name, price = PLANS[max(1, plan)]
            value |= {
                "plan": plan_name, "amount": price,
                "upsell_amount": price - PLANS[max(1, plan) - 1][1],
            }  # fmt: skip
        elif kind == "renewed" and chance < 0.1:
            value |= {"amount": price + 5.0, "upsell_amount": 5.0}
        return name
