"""What customers do, but for subscriptions: each function turns arrivals into all their records.

A journey is written as a whole when it begins, what follows later included: a cart's purchase, a
ticket's reopening, a changed answer. Nothing has to be remembered of it then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from stream.core.settings import DAY, HOUR, MINUTE, NEGATIVE_EMOTIONS, POSITIVE_EMOTIONS, SECOND
from stream.generate.draws import Arrivals, Bools, Draws, Floats, Record, stamps, texts
from stream.generate.incidents import Incident, hits
from stream.generate.profile import CHANNEL_MOOD, CURRENCIES, LANGUAGES, REGION_MOOD

Begin = Callable[[Draws, Arrivals, Sequence[Incident]], list[Record]]

#: By how many standard deviations an outage lowers the mood.
_OUTAGE_MOOD = 1.4
_DEVICES = ("desktop", "mobile", "tablet")
_PAGES = ("/", "/pricing", "/sale", "/search", "/account", "/help", "/new-in")
_SURVEYS = ("nps", "csat", "ces", "css", "emotion")
_SURVEY_SHARES = (0.30, 0.34, 0.16, 0.12, 0.08)
_SIGNALS = ("usage", "payment", "support", "engagement")
_SIGNAL_SHARES = (0.5, 0.15, 0.15, 0.2)

_dump = orjson.dumps


def visits(draw: Draws, who: Arrivals, _: Sequence[Incident]) -> list[Record]:
    """Visits of the site, the app or a store: 3.4% convert, one in four is a new customer's."""
    n = len(who)
    columns = zip(
        who.at.tolist(), stamps(who.at), draw.hexes(n, 16), draw.hexes(n, 8),
        draw.customers(who.region), who.labels(), who.region.tolist(),
        draw.rng.geometric(1 / 4.6, n).clip(max=60).tolist(),
        draw.chance(n, 0.034).tolist(), draw.chance(n, 0.25).tolist(),
        draw.rng.integers(0, 1 << 30, n).tolist(), strict=True,
    )  # fmt: skip
    records: list[Record] = []
    for at, stamp, event, visit, customer, labels, region, pages, bought, new, dice in columns:
        key = "visit-" + visit
        languages = LANGUAGES[region]
        value = {
            "event_id": event, "type": "visit.ended", "occurred_at": stamp,
            "customer_id": customer, "labels": labels, "visit_id": key, "pages": pages,
            "converted": bought, "new_customer": new, "device": _DEVICES[dice % 3],
            "language": languages[dice % len(languages)], "landing": _PAGES[dice % 7],
        }  # fmt: skip
        records.append((at, "cx.visit", key.encode(), _dump(value)))
    return records


def surveys(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> list[Record]:
    """Answers to surveys of all kinds; 8% are changed within minutes, mostly for the better."""
    n = len(who)
    mood = _mood(draw, who, incidents)
    changed_at = who.at + SECOND + draw.rng.exponential(3 * MINUTE, n).astype(np.int64)
    columns = zip(
        who.at.tolist(), stamps(who.at), draw.hexes(n, 16), draw.hexes(n, 8),
        draw.customers(who.region), who.labels(), draw.pick(n, _SURVEY_SHARES).tolist(),
        mood.tolist(), draw.chance(n, 0.6).tolist(), draw.chance(n, 0.08).tolist(),
        changed_at.tolist(), stamps(changed_at), (mood + draw.rng.normal(0.5, 0.7, n)).tolist(),
        strict=True,
    )  # fmt: skip
    records: list[Record] = []
    for (
        at, stamp, event, answer, customer, labels, survey, feeling, says,
        changed, then, then_stamp, then_feeling,
    ) in columns:  # fmt: skip
        key = "response-" + answer
        value: dict[str, Any] = {
            "event_id": event, "type": "survey.responded", "occurred_at": stamp,
            "customer_id": customer, "labels": labels, "response_id": key,
        }  # fmt: skip
        _answer(value, _SURVEYS[survey], feeling, says)
        records.append((at, "cx.survey", key.encode(), _dump(value)))
        if changed:
            value |= {"event_id": event + "-2", "type": "survey.updated", "occurred_at": then_stamp}
            _answer(value, _SURVEYS[survey], then_feeling, says)
            records.append((then, "cx.survey", key.encode(), _dump(value)))
    return records


def tickets(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> list[Record]:
    """Tickets as they close; 6% are reopened within hours and closed a second time."""
    n = len(who)
    automated, open_ms, first_s, excluded = _handled(draw, who, incidents)
    reopened_at = who.at + MINUTE + draw.rng.exponential(90 * MINUTE, n).astype(np.int64)
    closed_at = reopened_at + SECOND + draw.rng.exponential(90 * MINUTE, n).astype(np.int64)
    columns = zip(
        who.at.tolist(), stamps(who.at), stamps(who.at - open_ms.astype(np.int64)),
        draw.hexes(n, 16), draw.hexes(n, 8), draw.customers(who.region), who.labels(),
        draw.rng.geometric(0.72, n).clip(max=9).tolist(), automated.tolist(),
        excluded.round().astype(np.int64).tolist(), first_s.round(1).tolist(),
        draw.chance(n, 0.94).tolist(), _mood(draw, who, incidents).tolist(),
        draw.chance(n, 0.06).tolist(), reopened_at.tolist(), stamps(reopened_at),
        closed_at.tolist(), stamps(closed_at), strict=True,
    )  # fmt: skip
    records: list[Record] = []
    for (
        at, stamp, opened, event, ticket, customer, labels, contacts, bot, excluded_s, first,
        resolved, feeling, again, reopened, reopened_stamp, closed, closed_stamp,
    ) in columns:  # fmt: skip
        name = "ticket-" + ticket
        key = name.encode()
        value: dict[str, Any] = {
            "event_id": event, "type": "ticket.closed", "occurred_at": stamp,
            "customer_id": customer, "labels": labels, "ticket_id": name, "opened_at": opened,
            "contacts": contacts, "excluded_seconds": excluded_s, "resolved": resolved,
            "automated": bot, "first_response_seconds": first,
        }  # fmt: skip
        if feeling > 0.8 or feeling < -0.8:
            value["sentiment"] = _sentiment(feeling)
        records.append((at, "cx.ticket", key, _dump(value)))
        if again:
            reopening = {
                "event_id": event + "-2", "type": "ticket.reopened", "occurred_at": reopened_stamp,
                "customer_id": customer, "labels": labels, "ticket_id": name,
            }  # fmt: skip
            records.append((reopened, "cx.ticket", key, _dump(reopening)))
            value |= {
                "event_id": event + "-3", "occurred_at": closed_stamp,
                "contacts": contacts + 1, "reopens": 1, "resolved": True,
            }  # fmt: skip
            records.append((closed, "cx.ticket", key, _dump(value)))
    return records


def carts(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> list[Record]:
    """Carts: opened, changed 1.2 times, 30% bought, and 6% bought long after they were abandoned.

    While the checkout is broken, 95% of the purchases that would fall into it don't happen.
    """
    n = len(who)
    changes = draw.rng.poisson(1.2, n).clip(max=4)
    # Steps of up to 25 minutes: no cart that goes on is abandoned in between by the default rule.
    gaps = SECOND + draw.rng.exponential(3 * MINUTE, (n, 5)).clip(max=25 * MINUTE).astype(np.int64)
    times = who.at[:, None] + np.cumsum(gaps, axis=1)
    bought_at = times[np.arange(n), changes]
    fate = draw.rng.random(n)
    recovered = (fate >= 0.30) & (fate < 0.36)
    delay = (31 * MINUTE + draw.rng.exponential(50 * MINUTE, n)).astype(np.int64)
    bought_at = np.where(recovered, bought_at + delay, bought_at)
    broken = hits(incidents, "broken-checkout", bought_at, who.region) & draw.chance(n, 0.95)
    columns = zip(
        who.at.tolist(), stamps(who.at), draw.hexes(n, 16), draw.hexes(n, 8),
        draw.customers(who.region), who.labels(), who.region.tolist(),
        draw.rng.lognormal(np.log(48), 0.8, n).round(2).tolist(), changes.tolist(),
        times.tolist(), texts(times).tolist(), ((fate < 0.36) & ~broken).tolist(),
        bought_at.tolist(), stamps(bought_at), strict=True,
    )  # fmt: skip
    records: list[Record] = []
    for (
        at, stamp, event, cart, customer, labels, region, worth, changed, steps, step_stamps,
        buys, bought, bought_stamp,
    ) in columns:  # fmt: skip
        name = "cart-" + cart
        key = name.encode()
        value: dict[str, Any] = {
            "event_id": event, "type": "cart.opened", "occurred_at": stamp,
            "customer_id": customer, "labels": labels, "cart_id": name, "value": worth,
            "currency": CURRENCIES[region], "items": 1,
        }  # fmt: skip
        records.append((at, "cx.cart", key, _dump(value)))
        value["type"] = "cart.updated"
        for step in range(changed):
            value["event_id"] = f"{event}-{step + 2}"
            value["occurred_at"] = step_stamps[step] + "Z"
            value["value"] = round(worth * (step + 2), 2)
            value["items"] = step + 2
            records.append((steps[step], "cx.cart", key, _dump(value)))
        if buys:
            value |= {
                "event_id": event + "-9", "type": "cart.purchased", "occurred_at": bought_stamp,
            }  # fmt: skip
            records.append((bought, "cx.cart", key, _dump(value)))
    return records


def signals(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> list[Record]:
    """How customers are doing: a customer's signals stay near the customer's own level."""
    n = len(who)
    customers = draw.customers(who.region)
    # The level is a function of the customer alone: between 35 and 95, mostly in the middle.
    number = np.array([int(c[-8:]) for c in customers], dtype=np.int64)
    level = 35 + 60 * ((number * 2_654_435_761 % 1_000_003) / 1_000_003) ** 0.7
    values = (level + 12 * _mood(draw, who, incidents)).clip(0, 100).round(1)
    columns = zip(
        who.at.tolist(), stamps(who.at), draw.hexes(n, 16), customers, who.labels(),
        draw.pick(n, _SIGNAL_SHARES).tolist(), values.tolist(), strict=True,
    )  # fmt: skip
    records: list[Record] = []
    for at, stamp, event, customer, labels, signal, measured in columns:
        value = {
            "event_id": event, "type": "customer.signal", "occurred_at": stamp,
            "customer_id": customer, "labels": labels, "signal": _SIGNALS[signal],
            "value": measured, "source": "customer-success", "period_days": 28,
        }  # fmt: skip
        records.append((at, "cx.signal", customer.encode(), _dump(value)))
    return records


#: Who turns arrivals of a kind into records; subscriptions keep a state and stand apart.
BEGIN: dict[str, Begin] = {
    "visit": visits, "survey": surveys, "ticket": tickets, "cart": carts, "signal": signals,
}  # fmt: skip


class _Handled(NamedTuple):
    """How tickets were handled, one entry for each."""

    automated: Bools
    open_ms: Floats
    #: The wait for a first answer, and what does not count of the time that it was open.
    first_s: Floats
    excluded_s: Floats


def _handled(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> _Handled:
    """An outage doubles the time that tickets are open and the wait for a first answer."""
    n = len(who)
    slow = np.where(hits(incidents, "outage", who.at, who.region), 2.0, 1.0)
    open_ms = draw.rng.lognormal(np.log(1.6 * HOUR), 1.3, n).clip(30 * SECOND, 20 * DAY) * slow
    first_s = draw.rng.lognormal(np.log(170), 1.2, n).clip(1, 2 * 86_400) * slow
    automated = draw.chance(n, 0.22)
    open_ms = np.where(automated, open_ms * 0.05, open_ms)
    first_s = np.minimum(np.where(automated, 2.0, first_s), open_ms / SECOND)
    excluded_s = np.where(draw.chance(n, 0.3), open_ms / SECOND * draw.rng.random(n) * 0.5, 0.0)
    return _Handled(automated, open_ms, first_s, excluded_s)


def _mood(draw: Draws, who: Arrivals, incidents: Sequence[Incident]) -> Floats:
    """How content each customer is, in standard deviations from the company's mean."""
    mood = draw.rng.standard_normal(len(who))
    mood += CHANNEL_MOOD[who.channel] + REGION_MOOD[who.region]
    mood[hits(incidents, "outage", who.at, who.region)] -= _OUTAGE_MOOD
    return mood


def _answer(value: dict[str, Any], survey: str, feeling: float, says: bool) -> None:
    """Put the score (or the emotions) that fits the feeling into an answer."""
    value["survey"] = survey
    if survey == "nps":
        value["score"] = _within(0, round(8.1 + 1.9 * feeling), 10)
    elif survey == "ces":
        value["score"] = _within(1, round(5.3 + 1.3 * feeling), 7)
    elif survey == "emotion":
        glad = feeling > -0.6
        names = POSITIVE_EMOTIONS if glad else NEGATIVE_EMOTIONS
        strength = round(min(10.0, (5.5 if glad else 2.0) + 2.0 * abs(feeling)), 1)
        first = int(abs(feeling) * 10) % 4
        value["emotions"] = {names[first]: strength, names[first - 1]: round(strength / 2, 1)}
    else:
        value["score"] = _within(1, round(4.2 + 0.9 * feeling), 5)
    if says:
        value["sentiment"] = _sentiment(feeling)


def _sentiment(feeling: float) -> float:
    return round(max(-1.0, min(1.0, 0.15 + 0.4 * feeling)), 3)


def _within(least: int, score: int, greatest: int) -> int:
    return max(least, min(score, greatest))
