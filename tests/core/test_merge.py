"""What shards tell the owners of families adds up to what they hold, however it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from unittest import mock

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import net, sharing
from stream.core.catalogue import FAMILIES, FAMILY_OF_COUNTER, KPIS, LAYOUT, TOPICS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.label_set import LabelSet, home
from stream.core.labels import NO_LABELS, intern
from stream.core.merge import LEAD_MS, SILENCE_MS, Family
from stream.core.parts import PaneSums
from stream.core.series import Sample, kpi_of
from stream.core.settings import HOUR, Settings, Window
from stream.core.shard import Shard
from stream.core.sharing import ShareRecord, Sharing, ring
from stream.core.state import StateLog
from stream.core.topics import subscription
from stream.core.values import Values
from tests.core.running import samples, settings_of
from tests.reference.config import DAY, MINUTE, SECOND, Config
from tests.reference.events import BrokenError, parse
from tests.reference.streams import NOON, configs, streams

_lives = count(1)
Logs = dict[str, list[ShareRecord]]


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Few events are enough for several pieces of a label set."""
    with mock.patch.object(net, "FULL", 2):
        yield


def home_of(record: bytes) -> int:
    """Records of one entity have the same home."""
    try:
        event = parse(record)
    except BrokenError:
        return 0
    is_base = event.type == "subscription.base"
    return len(event.labels) if is_base else sum((event.entity or "").encode())


def time_of(record: bytes) -> int:
    try:
        return parse(record).at
    except BrokenError:
        return 0


class Site:
    """Shards that share one stream by entity, and the logs of their shares."""

    def __init__(self, core: Settings, shards: int) -> None:
        self.core = core
        self.values = Values(core)
        self.shards = [Shard(core, self.values) for _ in range(shards)]
        self.logs: Logs = {topic: [] for topic in FAMILIES}
        self._sharing = [Sharing(s, n, f"{next(_lives)}") for n, s in enumerate(self.shards)]

    def ingest(self, record: bytes, now: int) -> None:
        self.shards[home_of(record) % len(self.shards)].ingest(None, [record], now)

    def share(self, now: int) -> None:
        """All shards tell what has changed."""
        for shard, told in zip(self.shards, self._sharing, strict=True):
            shard.advance(now)
            shard.fold(now)
            for topic, records in told.collect(now, now).items():
                self.logs[topic] += records

    def take_over(self, number: int) -> None:
        """Another owner takes a shard over."""
        self._sharing[number] = Sharing(self.shards[number], number, f"{next(_lives)}")

    def read(self, logs: Logs | None = None) -> dict[str, Family]:
        """The families as one who reads the logs from the start has them."""
        families = {topic: Family(self.core, len(self.shards)) for topic in FAMILIES}
        for topic, log in (logs or self.logs).items():
            for key, value in log:
                families[topic].take(key, value)
        return families


def compacted(log: Sequence[ShareRecord], end: int) -> list[ShareRecord]:
    """The log with only the last record of each key before ``end``."""
    latest = {key: i for i, (key, _) in enumerate(log[:end])}
    return [r for i, r in enumerate(log) if i >= end or latest[r[0]] == i]


def totals(core: Settings, families: dict[str, Family], at: int) -> list[Sample]:
    found: list[Sample] = []
    for topic, family in families.items():
        own = Wanted(frozenset(k.id for k in KPIS.values() if k.topic == topic))
        wanted = {w.label: own for w in core.windows}
        found += Evaluator(core).evaluate(family.shares(at), at, wanted).samples
    return shown(found)


def shown(found: Sequence[Sample]) -> list[Sample]:
    kept = [s for s in found if s.value is not None or s.numerator or s.denominator]
    return sorted(kept, key=lambda s: (s.kpi, s.window, s.labels))


def test_every_counter_belongs_to_the_family_of_the_topic_that_names_it() -> None:
    for number, topic in enumerate(TOPICS.values()):
        for name in (*(c.name for c in topic.counters), *topic.sketches):
            position = {**LAYOUT.positions, **LAYOUT.sketches}[name]
            assert FAMILY_OF_COUNTER[position] == number
    assert FAMILY_OF_COUNTER.size == LAYOUT.size


@settings(max_examples=150, deadline=None)
@given(configs, streams(), st.integers(1, 3), st.integers(0, 2**32))
def test_the_sum_of_what_was_told_is_the_sum_of_what_is_held(
    config: Config, records: list[bytes], shards: int, seed: int
) -> None:
    core = settings_of(config)
    site, rolls, now = Site(core, shards), Random(seed), 0
    for record in records:
        now = max(now, time_of(record))
        site.ingest(record, now)
        if rolls.random() < 0.2:
            site.share(now)
        if rolls.random() < 0.05:
            site.take_over(rolls.randrange(shards))
    if not now:
        return
    now += rolls.choice([0, 10 * SECOND, 20 * MINUTE, 8 * DAY])
    site.share(now)
    wanted = shown(samples(core, site.shards, now))
    thinned = {t: compacted(log, rolls.randint(0, len(log))) for t, log in site.logs.items()}
    for families in (site.read(), site.read(thinned)):
        assert {family.missing(now) for family in families.values()} == {None}
        assert totals(core, families, now) == wanted


@settings(max_examples=50, deadline=None)
@given(configs, streams(), st.integers(1, 3), st.integers(0, 2**32))
def test_of_a_log_that_was_made_anew_no_part_is_taken_for_the_total(
    config: Config, records: list[bytes], shards: int, seed: int
) -> None:
    core = settings_of(config)
    site, rolls, now = Site(core, shards), Random(seed), NOON
    follower, read = site.read(), dict.fromkeys(FAMILIES, 0)

    def follow() -> None:
        for topic, family in follower.items():
            for record in site.logs[topic][read[topic] :]:
                family.take(*record)
            read[topic] = len(site.logs[topic])

    site.share(now)
    for record in records:
        now = max(now, time_of(record))
        site.ingest(record, now)
        if rolls.random() < 0.3:
            site.share(now)
        if rolls.random() < 0.3:
            follow()
        if rolls.random() < 0.1:
            # Who follows may have read a part of it.
            site.logs, read = {topic: [] for topic in FAMILIES}, dict.fromkeys(FAMILIES, 0)
        if rolls.random() < 0.1:
            site.take_over(rolls.randrange(shards))
    site.share(now)
    follow()
    wanted = shown(samples(core, site.shards, now))
    for families in (site.read(), follower):
        for topic, family in families.items():
            if family.missing(now) is None:
                of_topic = [s for s in wanted if topic_of(s) == topic]
                assert totals(core, {topic: family}, now) == of_topic


def test_a_log_that_was_made_anew_holds_no_total_until_its_shard_is_taken_over() -> None:
    site = Site(Settings(), 2)
    for number in range(20):
        site.ingest(visit(number), NOON)
    site.share(NOON)
    site.logs = {topic: [] for topic in FAMILIES}
    site.take_over(1)
    site.share(NOON)
    reason = site.read()["cx.visit"].missing(NOON)
    assert reason == "not all that shard 0 has told is there; start its worker again"
    site.take_over(0)
    site.share(NOON)
    assert site.read()["cx.visit"].missing(NOON) is None
    assert visits(site.read(), Settings(), NOON) == 20


def test_who_follows_a_log_knows_that_a_change_was_lost_with_its_former_part() -> None:
    site = Site(Settings(), 1)
    site.ingest(visit(1), NOON)
    site.share(NOON)
    family = site.read()["cx.visit"]
    assert family.missing(NOON) is None
    site.ingest(visit(2), NOON)
    site.share(NOON)
    site.logs = {topic: [] for topic in FAMILIES}
    site.share(NOON)
    for record in site.logs["cx.visit"]:
        family.take(*record)
    assert family.missing(NOON) == "not all that shard 0 has told is there; start its worker again"
    assert family.is_cut


@settings(max_examples=20, deadline=None)
@given(configs, streams(most=20), st.integers(0, 2**32))
def test_as_long_as_its_state_is_the_same_so_is_the_sum(
    config: Config, records: list[bytes], seed: int
) -> None:
    core = settings_of(config)
    site, rolls, now = Site(core, 2), Random(seed), NOON
    families = {topic: Family(core, 2) for topic in FAMILIES}
    seen: dict[str, tuple[tuple[int, ...], list[Sample]]] = {}
    for record in records:
        now = max(now, time_of(record))
        site.ingest(record, now)
        for step in (0, 0, 1, rolls.choice([1, SECOND, MINUTE, DAY])):
            now += step
            if rolls.random() < 0.1:
                site.take_over(rolls.randrange(2))
            site.logs = {topic: [] for topic in FAMILIES}
            site.share(now)
            for topic, family in families.items():
                for key, value in site.logs[topic]:
                    family.take(key, value)
                state, found = family.state(now), totals(core, {topic: family}, now)
                if topic in seen and state == seen[topic][0]:
                    assert found == seen[topic][1]
                seen[topic] = state, found


@settings(max_examples=20, deadline=None)
@given(streams(), st.integers(0, 2**32))
def test_a_share_is_taken_in_as_a_whole(records: list[bytes], seed: int) -> None:
    core = Settings()
    site, rolls, now = Site(core, 1), Random(seed), NOON
    site.share(now)
    wanted = [(now, shown(samples(core, site.shards, now)))]
    for record in records:
        now = max(now, time_of(record))
        site.ingest(record, now)
        if rolls.random() < 0.3:
            site.share(now)
            wanted.append((now, shown(samples(core, site.shards, now))))
    for topic, log in site.logs.items():
        family, seen = Family(core, 1), -1
        for key, value in log:
            if key.startswith(b"beat/"):
                if seen >= 0:
                    # Nothing of a share shows before all of it is there.
                    at, all_topics = wanted[seen]
                    of_topic = [s for s in all_topics if topic_of(s) == topic]
                    assert totals(core, {topic: family}, at) == of_topic
                seen += 1
            family.take(key, value)


def topic_of(sample: Sample) -> str:
    return KPIS[kpi_of(sample.kpi)].topic


def visit(number: int, at: int = NOON) -> bytes:
    from tests.reference.streams import text

    return (
        f'{{"event_id":"v{number}","type":"visit.ended","occurred_at":"{text(at)}",'
        f'"visit_id":"v{number}"}}'
    ).encode()


def visits(families: dict[str, Family], core: Settings, at: int) -> float | None:
    found = {(s.kpi, s.window, s.labels): s for s in totals(core, families, at)}
    sample = found.get(("conversion", "1h", ()))
    return sample.denominator if sample else None


def test_a_share_has_each_key_once() -> None:
    site = Site(Settings(), 1)
    site.ingest(visit(1), NOON)
    site.share(NOON)
    site.take_over(0)
    # The pane was not told in this life, and it has changed.
    site.ingest(visit(2), NOON)
    site.share(NOON)
    for log in site.logs.values():
        last = max(i for i, (key, _) in enumerate(log) if key.startswith(b"beat/"))
        keys = [key for key, _ in log[last:]]
        assert len(keys) == len(set(keys))


def test_a_new_life_counts_once_it_has_told_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Settings()
    site = Site(core, 1)
    for n in range(30):
        site.ingest(visit(n, NOON - n * MINUTE), NOON)
    site.share(NOON)
    assert visits(site.read(), core, NOON) == 30
    monkeypatch.setattr(sharing, "CELLS_AT_ONCE", 1)
    site.take_over(0)
    seen = []
    for step in range(200):
        site.ingest(visit(100 + step), NOON)
        site.share(NOON)
        seen.append(visits(site.read(), core, NOON))
        if seen[-1] != 30:
            break
    assert len(seen) > 30
    assert seen[-1] == 30 + len(seen)
    assert set(seen[:-1]) == {30}


def signal(customer: str, at: int) -> bytes:
    from tests.reference.streams import text

    return (
        f'{{"event_id":"{customer}","type":"customer.signal","occurred_at":"{text(at)}",'
        f'"customer_id":"{customer}","signal":"usage","value":50}}'
    ).encode()


def test_a_signal_shows_before_its_pane_is_over_where_there_is_one_window() -> None:
    core = Settings(windows=(Window("7d", 7 * DAY, 60 * MINUTE),))
    site = Site(core, 1)
    for n in range(3):
        site.ingest(signal(f"c{n}", NOON), NOON)
        site.share(NOON)
        family = {"cx.signal": site.read()["cx.signal"]}
        assert [s.denominator for s in totals(core, family, NOON) if not s.labels] == [n + 1] * 2


@pytest.mark.parametrize("pane", [1, 2, 3, 5])
@pytest.mark.parametrize("behind", [0, 200, 500])
def test_health_is_known_a_little_after_its_pane_is_over(pane: int, behind: int) -> None:
    window = Window("w", 20 * pane * SECOND, pane * SECOND)
    core = Settings(windows=(window,), rollups=((),))
    shard = Shard(core, Values(core))
    told, family = Sharing(shard, 0, "life"), Family(core, 1)
    wanted = {"w": Wanted(frozenset({"health"}))}
    for now in range(NOON, NOON + 30 * SECOND, SECOND):
        assert shard.ingest("cx.signal", [signal(f"{now}", now)], now) == []
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.signal"]:
            family.take(key, value)
        found = Evaluator(core).evaluate(family.shares(now), now - behind, wanted).samples
        known = [s for s in found if s.kpi == "health" and s.value is not None]
        assert known or now - behind < NOON


@pytest.mark.parametrize("pane", [1, 2, 5, 60])
def test_a_new_life_tells_the_health_that_late_rules_ask_for(pane: int) -> None:
    window = Window("w", 60 * pane * SECOND, pane * SECOND)
    core = Settings(windows=(window,), rollups=((),))
    shard = Shard(core, Values(core))
    assert shard.ingest("cx.signal", [signal("c", NOON - 10 * SECOND)], NOON) == []
    shard.fold(NOON)
    family = Family(core, 1)
    for key, value in Sharing(shard, 0, "life").collect(NOON, NOON)["cx.signal"]:
        family.take(key, value)
    wanted = {"w": Wanted(frozenset({"health"}))}
    for behind in range(0, 5 * SECOND + 1, 500):
        shares = family.shares(NOON)
        found = Evaluator(core).evaluate(shares, NOON - behind, wanted).samples
        assert [s.denominator for s in found if s.kpi == "health"] == [1]


def test_customers_who_are_forgotten_before_their_time_are_told_of_no_more() -> None:
    core = Settings(rollups=((),), windows=(Window("7d", 7 * DAY, HOUR),), max_remembered=100)
    shard = Shard(core, Values(core))
    log, told, family = StateLog(shard), Sharing(shard, 0, "life"), Family(core, 1)
    wanted = {"7d": Wanted(frozenset({"health", "at_risk"}))}
    for hours in range(6):
        some = [signal(f"{hours}-{n}", NOON - hours * HOUR) for n in range(50)]
        assert shard.ingest("cx.signal", some, NOON) == []
    for now in (NOON, NOON + SECOND, NOON + 2 * SECOND):
        shard.fold(now)
        for key, value in told.collect(now, now)["cx.signal"]:
            family.take(key, value)
        held, shown = (
            [s.denominator for s in Evaluator(core).evaluate(shares, now, wanted).samples]
            for shares in ([shard.share()], family.shares(now))
        )
        assert shown == held
        assert held == [300 if now == NOON else 100] * 2
        log.flush(now)


def test_what_is_missing_is_named() -> None:
    core = Settings()
    site = Site(core, 2)
    family = site.read()["cx.visit"]
    assert family.missing(NOON) == "shard 0 has not told its part yet"
    assert family.complete_to() == 0
    site.share(NOON)
    family = site.read()["cx.visit"]
    assert family.missing(NOON + SILENCE_MS) is None
    assert family.missing(NOON + SILENCE_MS + 1) == "shard 0 was not heard of for 15 s"
    assert family.complete_to() == NOON


def test_the_words_of_another_configuration_are_not_taken_for_our_own() -> None:
    site = Site(Settings(), 1)
    site.share(NOON)
    other = Family(Settings(windows=(Window("5m", 300_000, 10_000),)), 1)
    for key, value in site.logs["cx.visit"]:
        other.take(key, value)
    assert other.missing(NOON) == "shard 0 has not told its part yet"


@pytest.mark.parametrize(
    "others",
    [
        Settings(windows=(Window("5m", 300_000, 10_000),)),
        Settings(rapid_response_ms=SECOND),
        Settings(health_weights={"usage": 5.0}),
    ],
    ids=["windows", "a threshold", "weights"],
)
def test_a_shard_that_a_worker_of_another_configuration_tells_is_named(others: Settings) -> None:
    like_us = Settings()
    ours, theirs = Site(like_us, 2), Site(others, 2)
    family = Family(like_us, 2)
    taken = {id(ours): 0, id(theirs): 0}

    def tell(site: Site, now: int, numbers: Sequence[int]) -> None:
        site.share(now)
        log = site.logs["cx.visit"]
        for key, value in log[taken[id(site)] :]:
            if int((key or b"").split(b"/")[1]) in numbers:
                family.take(key, value, now)
        taken[id(site)] = len(log)

    tell(ours, NOON, [0, 1])
    at = NOON
    words = set()
    for _ in range(20):
        at += SECOND
        tell(ours, at, [0])
        tell(theirs, at, [1])
        words.add(family.missing(at))
    strange = "a worker of another configuration or version tells shard 1"
    assert words == {None, "shard 1 was not heard of for 16 s", strange}
    assert (family.stranger(at), family.missing(at)) == (1, strange)
    # It is gone, and nobody has the shard yet.
    at += SILENCE_MS + 1
    tell(ours, at, [0])
    assert family.stranger(at) is None
    assert family.missing(at) == "shard 1 was not heard of for 35 s"
    # What it has left in the log is no word of somebody who is there.
    theirs.take_over(1)
    tell(theirs, at, [1])
    assert family.stranger(at) is None
    tell(ours, at, [1])
    assert family.missing(at) is None


def test_a_worker_whose_clock_is_ahead_has_not_spoken_later_than_it_was_heard() -> None:
    core = Settings()
    site = Site(core, 1)
    site.share(NOON + LEAD_MS)
    family = Family(core, 1)
    for key, value in site.logs["cx.visit"]:
        family.take(key, value, NOON)
    assert family.complete_to() == NOON
    assert family.missing(NOON + SILENCE_MS) is None
    assert family.missing(NOON + SILENCE_MS + 1) is not None


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        (LEAD_MS, None),
        (LEAD_MS + 1, "5 s"),
        (90 * SECOND, "90 s"),
        (HOUR - 2 * SECOND, "59 min"),
        (HOUR + 59 * MINUTE, "119 min"),
        (2 * HOUR, "2 h"),
        (400 * DAY, "400 days"),
    ],
)
def test_a_shard_whose_time_is_far_ahead_makes_no_total(lead: int, words: str | None) -> None:
    """It has let go of panes that are still wanted, and counts nothing in them any more."""
    site = Site(Settings(), 2)
    site.share(NOON)
    site.shards[1].progress.now = NOON + lead
    for topic, records in site._sharing[1].collect(NOON + lead, NOON).items():
        site.logs[topic] += records
    family = Family(site.core, 2)
    for key, value in site.logs["cx.visit"]:
        family.take(key, value, NOON)
    reason = words and f"shard 1 is {words} ahead of this worker's clock"
    assert (family.missing(NOON), family.ahead(NOON)) == (reason, reason)
    assert family.lead(NOON) == lead


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([1, 2, 5]), st.sampled_from([8, 20, 100]), st.integers(0, 5))
def test_a_shard_that_waits_for_its_time_is_asked_for_nothing_until_it_tells_all_again(
    pane: int, lead: int, late: int
) -> None:
    """It takes in what happens, but tells the health of no pane that is over by its own time."""
    window = Window("w", 200 * SECOND, pane * SECOND)
    core = Settings(windows=(window,), rollups=((),))
    shard, family = Shard(core, Values(core)), Family(core, 1)
    told = Sharing(shard, 0, "life")
    wanted = {"w": Wanted(frozenset({"health"}))}
    shown = []
    for second in range(-20, lead + 20):
        now = NOON + second * SECOND
        at = max(now, NOON + lead * SECOND) if second >= 0 else now
        shard.ingest("cx.signal", [signal(f"c{second}", now - 1)], at)
        shard.fold(at)
        for key, value in told.collect(at, now)["cx.signal"]:
            family.take(key, value, now)
        asked = now - late * SECOND
        if family.missing(now) is None:
            found = Evaluator(core).evaluate(family.shares(asked), asked, wanted).samples
            # Of a pane that is over it is what was known at its end, so it may lack as much.
            least = second + 21 - late - pane
            assert all((s.denominator or 0) >= least for s in found if s.kpi == "health")
            shown.append(second)
    assert shown == [*range(-20, 0), *range(lead + 6, lead + 20)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.sampled_from([1, 2, 5]), st.integers(0, 3))
def test_what_is_told_of_a_clock_that_is_ahead_is_the_whole_or_nothing(
    lead: int, pane: int, quiet: int
) -> None:
    """Health is told anew with each pane, so it is what a lead takes away first."""
    window = Window("w", 60 * pane * SECOND, pane * SECOND)
    core = Settings(windows=(window,), rollups=((),))
    shard, family = Shard(core, Values(core)), Family(core, 1)
    told = Sharing(shard, 0, "life")
    wanted = {"w": Wanted(frozenset({"health"}))}
    shard.ingest("cx.signal", [signal("c", NOON - 20 * SECOND)], NOON - 20 * SECOND)
    for second in range(-20, 1 + lead):
        at = NOON + second * SECOND
        shard.fold(at)
        for key, value in told.collect(at, at)["cx.signal"]:
            family.take(key, value, NOON)
    now = NOON + quiet * 100
    if family.missing(now) is None:
        found = Evaluator(core).evaluate(family.shares(now), now - 500, wanted).samples
        assert [s.denominator for s in found if s.kpi == "health"] == [1]
    else:
        assert lead * SECOND - quiet * 100 > LEAD_MS


def _packed(data: object) -> bytes:
    return sharing.pack(sharing.fingerprint(Settings()), data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"pane/0/1h/3", b"garbage"),
        (b"pane", b""),
        (None, b"{}"),
        (b"\xff/0", b"{}"),
        (b"beat/zero", b"{}"),
        (b"beat/0", _packed([1, "no beat"])),
        (b"pane/0/1h/3", zstandard.compress(msgspec.msgpack.encode(5))),
        (b"pane/0/1h/3", zstandard.compress(msgspec.msgpack.encode([5, None]))),
        (b"pane/0/1h/3", zstandard.compress(msgspec.msgpack.encode({"a": 1, "b": 2}))),
        (b"pane/0/1h", _packed([1, b"", b""])),
        (b"pane/0/1h/3/4", _packed([1, b"", b""])),
        (b"pane/0/1h/3", _packed(7)),
        (b"pane/0/1h/3", _packed([1, b"123", b"12345678"])),
        (b"pane/0/1h/3", _packed([1, b"1234", b""])),
        (b"rows/0", _packed([])),
        (b"rows/0/a", _packed([])),
        (b"rows/0/-1", _packed([])),
        (b"rows/0/100000000", _packed([])),
        (b"rows/0/0", _packed([["too", "many", "of", "them"]])),
        (b"active/0/ab", _packed([b"{}", [], 0, []])),
        (b"piece/0/ab/1", _packed([0, 0, [1], [1, 2]])),
        (b"health/0/1h/1", _packed([1, []])),
        (b"health/0/1h/1", _packed([1, [[], [[[], 1, 1, 0]], [], []]])),
        (b"health/0/1h/1", _packed([1, [[[[], 1 << 63, 1, 0]], [], [], []]])),
        (b"another/0", _packed([])),
    ],
)
def test_a_damaged_record_is_known_until_its_key_is_deleted(
    key: bytes | None, value: bytes
) -> None:
    family = Family(Settings(), 1)
    family.take(key, value)
    family.take(key, value)
    assert family.damaged == {key}
    family.take(key, None)
    assert not family.damaged


def test_a_damaged_record_is_forgotten_once_its_key_is_written_anew() -> None:
    site = Site(Settings(), 1)
    family = Family(Settings(), 1)
    site.share(NOON)
    told(family, site, 0)
    for key in (b"beat/0", b"pane/0/1h/3"):
        family.take(key, b"garbage")
    read = len(site.logs["cx.visit"])
    site.share(NOON)
    told(family, site, read)
    assert family.damaged == {b"pane/0/1h/3"}
    assert family.missing(NOON) == "1 record of shard 0 can't be read"
    # Whoever takes the shard over tells everything.
    site.take_over(0)
    read = len(site.logs["cx.visit"])
    site.share(NOON)
    told(family, site, read)
    assert (family.damaged, family.missing(NOON)) == (set(), None)


def told(family: Family, site: Site, first: int) -> None:
    for record in site.logs["cx.visit"][first:]:
        family.take(*record, now=NOON)


def test_a_sum_in_rows_that_were_not_told_is_not_shown() -> None:
    site = Site(Settings(), 1)
    site.share(NOON)
    family = Family(Settings(), 1)
    told(family, site, 0)
    read = len(site.logs["cx.visit"])
    site.ingest(visit(1), NOON)
    site.share(NOON)
    records = [r for r in site.logs["cx.visit"][read:] if not r[0].startswith(b"rows/")]
    # As if the log's beginning were gone: so many records follow as the beat says.
    for key, value in (*records, (b"piece/0/ab/1", None)):
        family.take(key, value, NOON)
    assert family.missing(NOON) == "shard 0 has not told all labels"


def test_what_others_delete_is_not_gone_from_what_we_have_told() -> None:
    like_us, others = Settings(), Settings(rapid_response_ms=SECOND)
    site, theirs = Site(like_us, 1), Site(others, 1)
    family = Family(like_us, 1)
    site.ingest(visit(1), NOON)
    site.share(NOON)
    told(family, site, 0)
    wanted = visits({"cx.visit": family}, like_us, NOON)
    assert wanted == 1
    theirs.share(NOON)
    told(family, theirs, 0)
    for key, _ in site.logs["cx.visit"]:
        if key.startswith(b"pane/"):
            family.take(key, None, NOON)
    theirs.share(NOON)
    told(family, theirs, 0)
    assert visits({"cx.visit": family}, like_us, NOON) == wanted


def test_a_damaged_record_leaves_the_others_of_its_share_and_later_shares_alone() -> None:
    site = Site(Settings(), 1)
    family = Family(Settings(), 1)
    site.share(NOON)
    beat, *others = site.logs["cx.visit"]
    for record in (beat, (b"piece/0/ab/1", _packed([0, 0, [1], [1, 2]])), *others):
        family.take(*record, now=NOON)
    assert family.damaged == {b"piece/0/ab/1"}
    assert family.beats()
    assert family.missing(NOON) == "1 record of shard 0 can't be read"


def left(site: Site) -> Family:
    """The family of visits as one who reads anew what was left in its log has it."""
    family = Family(site.core, len(site.shards))
    family.is_left = True
    told(family, site, 0)
    family.is_left = False
    return family


def test_what_was_left_in_a_log_is_not_shown_until_each_shard_has_told_more() -> None:
    site = Site(Settings(), 2)
    site.share(NOON)
    family, read = left(site), len(site.logs["cx.visit"])
    assert family.missing(NOON + SILENCE_MS + 1) == "shard 0 was not heard of for 15 s"
    site.share(NOON)
    for number in range(2):
        more = f"shard {number} has not told more since its part was read again"
        assert family.missing(NOON) == more
        for record in site.logs["cx.visit"][read:]:
            if record[0].split(b"/")[1] == b"%d" % number:
                family.take(*record, now=NOON)
    assert family.missing(NOON) is None


def test_what_was_left_in_a_log_is_no_more_when_it_is_closed_by_the_next_share() -> None:
    """As where a record of its latest share was deleted: it is taken in as the next one begins."""
    site = Site(Settings(), 1)
    site.share(NOON)
    beat = msgspec.structs.replace(site.read()["cx.visit"].beats()[0], following=1)
    life = site._sharing[0]._life
    site.logs["cx.visit"].append((b"beat/0", sharing.pack(life, beat)))
    family, read = left(site), len(site.logs["cx.visit"])
    site.ingest(visit(1), NOON)
    site.share(NOON)
    of_share = site.logs["cx.visit"][read:]
    assert len(of_share) > 1
    for record in of_share:
        assert family.missing(NOON) is not None
        family.take(*record, now=NOON)
    assert family.missing(NOON) is None


def test_what_was_left_in_a_log_is_not_shown_before_a_new_life_has_told_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "CELLS_AT_ONCE", 1)
    site = Site(Settings(), 1)
    site.ingest(visit(1), NOON)
    site.share(NOON)
    family, read = left(site), len(site.logs["cx.visit"])
    site.take_over(0)
    while not site._sharing[0].is_whole:
        assert family.missing(NOON) is not None
        site.share(NOON)
        told(family, site, read)
        read = len(site.logs["cx.visit"])
    assert read > 2
    assert family.missing(NOON) is None


def test_it_is_not_said_that_nobody_tells_again_what_lacks_of_what_was_left_in_a_log() -> None:
    """A shard that finds its log made anew begins a new life with its next share."""
    site = Site(Settings(), 1)
    site.ingest(visit(1), NOON)
    site.share(NOON)
    site.logs["cx.visit"].clear()
    site.share(NOON)
    assert (left(site).is_cut, site.read()["cx.visit"].is_cut) == (False, True)
    assert left(site).missing(NOON) == "not all that shard 0 has told is there"


def test_a_window_that_starts_empty_does_so_where_it_starts_last() -> None:
    site = Site(Settings(), 3)
    site.shards[0].windows.start_at({"5m": NOON, "7d": NOON - DAY})
    site.shards[1].windows.start_at({"7d": NOON - HOUR})
    site.share(NOON)
    families = site.read().values()
    assert [family.starts() for family in families] == [{"5m": NOON, "7d": NOON - HOUR}] * len(
        FAMILIES
    )


@pytest.mark.parametrize("number", ["-1", "1"])
def test_a_shard_that_does_not_exist_says_nothing(number: str) -> None:
    family = Family(Settings(), 1)
    beat = sharing.Beat(0, True, NOON, NOON, None, None, {}, (0, 0), {})
    family.take(f"beat/{number}".encode(), _packed(beat), NOON)
    assert family.missing(NOON) is not None


def test_shards_beyond_the_present_number_are_left_out() -> None:
    site = Site(Settings(), 3)
    site.share(NOON)
    site.shards.pop()
    assert site.read()["cx.visit"].missing(NOON) is None


@pytest.mark.parametrize("window", Settings().windows, ids=lambda w: str(w.label))
def test_keys_of_panes_are_bounded_and_never_shared_by_two_living_panes(window: Window) -> None:
    core = Settings(windows=(window,))
    site = Site(core, 1)
    log = StateLog(site.shards[0])
    now = NOON
    for n in range(3 * ring(window)):
        now = NOON + n * window.pane_ms
        for ahead in (0, 60 * SECOND):
            site.ingest(visit(2 * n + bool(ahead), now + ahead), now)
        log.flush(now)
        site.share(now)
    keys = {key for key, _ in site.logs["cx.visit"] if key.startswith(b"pane/")}
    assert len(keys) <= ring(window)
    assert totals(core, site.read(), now) == shown(samples(core, site.shards, now))


def test_panes_that_left_and_joined_are_taken_out_of_and_into_the_sum() -> None:
    import numpy as np

    from stream.core.integers import Ints

    def cells(*pairs: tuple[int, int]) -> tuple[Ints, Ints]:
        keys, values = zip(*pairs, strict=True)
        return np.array(keys, dtype=np.int64), np.array(values, dtype=np.int64)

    rolls = Random(3)
    sums = PaneSums()
    for step in range(300):
        part = rolls.randrange(12), rolls.randrange(2)
        sums.panes[part] = cells(*((k, rolls.randrange(-3, 4)) for k in range(4)))
        first = step // 30
        keys, values = sums.between(first, first + 6)
        wanted: dict[int, int] = {}
        for (pane, _), (k, v) in sums.panes.items():
            if first <= pane <= first + 6:
                for key, value in zip(k.tolist(), v.tolist(), strict=True):
                    wanted[key] = wanted.get(key, 0) + value
        found = dict(zip(keys.tolist(), values.tolist(), strict=True))
        assert found == {k: v for k, v in wanted.items() if v}


def subscribed(site: Site, channel: str, times: Sequence[int], n: int = 1) -> None:
    """Starts (−n: cancellations) in the first shard."""
    for at in times:
        site.shards[0].active.count(intern({"channel": channel}), at, n, at)


def shared(site: Site, now: int) -> dict[bytes, bytes | None]:
    """The records of label sets in the next share."""
    log = site.logs[subscription.NAME]
    first = len(log)
    site.share(now)
    return {key: value for key, value in log[first:] if key.startswith((b"active/", b"piece/"))}


def test_of_a_label_set_the_piece_that_has_changed_is_told_alone() -> None:
    site = Site(Settings(), 1)
    for channel in ("web", "app"):
        subscribed(site, channel, range(NOON, NOON + HOUR, 5 * SECOND))
    assert len(shared(site, NOON + HOUR)) == 2 * (1 + 720 // net.FULL)
    subscribed(site, "web", [NOON + HOUR - 1, NOON + HOUR - 1])
    (key,) = shared(site, NOON + HOUR)
    assert key.startswith(b"piece/0/")
    assert key.endswith(b"/%d" % (720 // net.FULL - 1))
    assert not shared(site, NOON + HOUR), "nothing has changed"
    subscribed(site, "web", [NOON + HOUR, NOON + 30 * MINUTE])
    assert len(shared(site, NOON + HOUR)) == 2, "a new piece, and an old one"


def test_a_base_tells_no_piece() -> None:
    site = Site(Settings(), 1)
    subscribed(site, "web", range(NOON, NOON + HOUR, 5 * SECOND))
    shared(site, NOON + HOUR)
    site.shards[0].active.set_base(intern({"channel": "web"}), NOON, 5, NOON)
    (key,) = shared(site, NOON + HOUR)
    assert key.startswith(b"active/0/")


def test_shares_say_where_a_label_set_counts_and_that_it_still_does() -> None:
    core = replace(
        Settings(),
        dimensions=("channel",),
        rollups=((), ("channel",)),
        max_values_per_dimension=1,
    )
    site = Site(core, 2)
    homes = []
    for days, number, channel in [(0, 0, "web"), (9, 1, "app"), (9, 1, "web"), (20, 0, "web")]:
        shard, at, labels = site.shards[number], NOON + days * DAY, intern({"channel": channel})
        row = shard.segments.row(labels, None, at)
        if channel == "web":
            shard.active.count(labels, at, 1, at, row)
        site.share(at)
        shares = site.read()[subscription.NAME].shares(at)
        parts = [found for share in shares for found in share.active.values()]
        homes += [home(parts)[0]] if parts else []
    assert homes == ["web", "web", "other", "web"]


def test_pieces_that_are_gone_are_told_to_be() -> None:
    core = replace(Settings(), max_segments=1)
    site = Site(core, 1)
    subscribed(site, "web", range(NOON, NOON + HOUR, 5 * SECOND))
    subscribed(site, "web", range(NOON, NOON + HOUR, 5 * SECOND), -1)
    told = shared(site, NOON + HOUR)
    later = NOON + 40 * DAY
    site.shards[0].active.changes()
    site.shards[0].active.count(NO_LABELS, later, 1, later)
    for _ in site.shards[0].active.expire(later):
        continue
    gone = {key for key, value in shared(site, later).items() if value is None}
    assert gone == set(told)
    (share,) = site.read()[subscription.NAME].shares(later)
    assert [found.net.total for found in share.active.values()] == [1]


def test_a_reader_keeps_what_has_not_changed_and_replaces_what_has() -> None:
    site = Site(Settings(), 1)
    family, read = Family(site.core, 1), 0

    def label_sets() -> tuple[LabelSet, LabelSet]:
        nonlocal read
        log = site.logs[subscription.NAME]
        for key, value in log[read:]:
            family.take(key, value)
        read = len(log)
        (share,) = family.shares(NOON)
        web, app = (share.active[intern({"channel": c}).key] for c in ("web", "app"))
        return web, app

    for channel in ("web", "app"):
        subscribed(site, channel, range(NOON, NOON + HOUR, 5 * SECOND))
    site.share(NOON)
    web, app = label_sets()
    former = web.net.total
    subscribed(site, "web", [NOON + HOUR - 1])
    site.share(NOON)
    new_web, new_app = label_sets()
    assert new_app is app
    assert new_web is not web
    assert (web.net.total, new_web.net.total) == (former, former + 1)
    assert new_web.net.pieces[:-1] == web.net.pieces[:-1], "they are shared, with what is known"


def test_workers_that_write_records_otherwise_pass_over_each_other_s() -> None:
    site = Site(Settings(), 1)
    with mock.patch.object(sharing, "_PROTOCOL", 1):
        site.take_over(0)
    site.share(NOON)
    assert site.read()["cx.subscription"].missing(NOON) == "shard 0 has not told its part yet"
