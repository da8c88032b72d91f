"""The samples of the recorded incident, counted event by event straight from its file.

Slow and simple on purpose: it shares nothing with the counters, so that the rules are tested
against samples that don't come from the code that makes them in production.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from stream.core.series import Evaluation, LabelPairs, Sample
from stream.core.settings import HOUR, MINUTE, SECOND, Rule, Settings, Window

FOLDER = Path(__file__).parents[1] / "data" / "incident"
Z = 1.959964
CART_TIMEOUT = 5 * MINUTE
UNITS = {"m": MINUTE, "s": SECOND, "h": HOUR}


def settings() -> Settings:
    """The incident's configuration."""
    raw = tomllib.loads((FOLDER / "cxkpi.toml").read_text())
    return Settings(
        dimensions=tuple(raw["dimensions"]),
        rollups=tuple(map(tuple, raw["rollups"])),
        evaluate_ms=_ms(raw["evaluate"]),
        windows=tuple(Window(w["size"], _ms(w["size"]), _ms(w["pane"])) for w in raw["window"]),
        cart_timeout_ms=_ms(raw["cart"]["timeout"]),
        rules=tuple(_rule(rule) for rule in raw["alert"]),
    )


def changes() -> list[dict[str, Any]]:
    """The changes that the incident makes."""
    read: list[dict[str, Any]] = json.loads((FOLDER / "changes.json").read_text())
    return read


def evaluations(rules: Settings) -> Iterator[Evaluation]:
    """The incident's evaluations, from the first event to the last."""
    events = _read()
    first, last = events[0].at, events[-1].at
    every = rules.evaluate_ms
    for now in range(-(-first // every) * every, last + 1, every):
        yield Evaluation(now, tuple(_samples(rules, [e for e in events if e.at <= now], now)))


@dataclass(frozen=True)
class Seen:
    at: int
    type: str
    region: str
    raw: dict[str, Any]


def _ms(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


def _rule(raw: dict[str, Any]) -> Rule:
    durations = {"for": "for_ms", "keep_firing_for": "keep_firing_for_ms"}
    fields = {durations.get(k, k): _ms(v) if k in durations else v for k, v in raw.items()}
    return Rule(**fields | {"by": tuple(raw.get("by", ()))})


def _at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)


def _read() -> list[Seen]:
    with (FOLDER / "events.jsonl").open() as lines:
        raw = [json.loads(line) for line in lines]
    return [Seen(_at(e["occurred_at"]), e["type"], e["labels"]["region"], e) for e in raw]


def _samples(rules: Settings, events: list[Seen], now: int) -> Iterator[Sample]:
    for region in (None, *sorted({e.region for e in events})):
        labels: LabelPairs = () if region is None else (("region", region),)
        mine = [e for e in events if region in (None, e.region)]
        for window in rules.windows:
            start = (now // window.pane_ms - window.size_ms // window.pane_ms + 1) * window.pane_ms
            inside = [e for e in mine if e.at >= start]
            yield _ratio("csat", window, labels, _csat(inside))
            yield _nps(window, labels, inside)
            yield _art(window, labels, inside)
            yield _ratio("cart_abandonment", window, labels, _carts(mine, start, now))
            yield _ratio("churn", window, labels, _churn(mine, start))


def _csat(events: list[Seen]) -> tuple[float, float]:
    scores = [e.raw["score"] for e in events if e.raw.get("survey") == "csat"]
    return sum(score >= 4 for score in scores), len(scores)


def _carts(events: list[Seen], start: int, now: int) -> tuple[float, float]:
    opened = {e.raw["cart_id"]: e.at for e in events if e.type == "cart.opened"}
    bought = {e.raw["cart_id"]: e.at for e in events if e.type == "cart.purchased"}
    gone = {
        cart: deadline
        for cart, at in opened.items()
        if (deadline := at + CART_TIMEOUT) <= now and bought.get(cart, math.inf) > deadline
    }
    abandoned = sum(at >= start for at in gone.values())
    return abandoned, abandoned + sum(
        at >= start for cart, at in bought.items() if cart not in gone
    )


def _churn(events: list[Seen], start: int) -> tuple[float, float]:
    bases = sum(e.raw["active"] for e in events if e.type == "subscription.base")
    lost = [e.at for e in events if e.type == "subscription.cancelled"]
    return sum(at >= start for at in lost), bases - sum(at < start for at in lost)


def _nps(window: Window, labels: LabelPairs, events: list[Seen]) -> Sample:
    scores = [e.raw["score"] for e in events if e.raw.get("survey") == "nps"]
    difference = sum(s >= 9 for s in scores) - sum(s < 7 for s in scores)
    value = 100 * difference / len(scores) if scores else None
    return Sample("nps", window.label, labels, value, None, None, difference, len(scores))


def _art(window: Window, labels: LabelPairs, events: list[Seen]) -> Sample:
    times = [(e.at - _at(e.raw["opened_at"])) / 1e3 for e in events if e.type == "ticket.closed"]
    value = sum(times) / len(times) if times else None
    return Sample("art", window.label, labels, value, None, None, sum(times), len(times))


def _ratio(kpi: str, window: Window, labels: LabelPairs, counts: tuple[float, float]) -> Sample:
    k, n = counts
    if n <= 0:
        return Sample(kpi, window.label, labels, None, None, None, k, n)
    p = k / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return Sample(kpi, window.label, labels, p, middle - half, middle + half, k, n)
