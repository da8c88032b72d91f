"""Ids are told apart under a seed that nobody knows, which stays that of a state."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.inspection import inspect
from stream.core.settings import DAY, HOUR, SECOND, Settings, Window
from stream.core.shard import Shard
from stream.core.state import FORMAT, Header, StateLog, StateRefused
from stream.core.state_records import pack, unpack
from stream.core.table import NO_KEY, Digests
from stream.core.timestamps import format_ms
from stream.core.values import Values
from tests.core.recorded_state import read, recorded, recovered, told
from tests.core.running import outcomes, samples
from tests.core.test_recorded_state import rounded

NOON = 1_772_452_800_000
LATER = NOON + 2 * SECOND
OWN = Settings()
#: An id and one that was made to be taken for it where the seed is known to be 0.
MADE = (
    ("3f0c5a52-8d1e", "mallory-8mgig9ctnhrc90e7a2pr3dvrgc0oehdviln88hgl9vplqonmhg33hjca"),
    ("t-4711", "mallory-d5ufecfmlo7efumo0nn7kslvkmub2ffqso79k1rbsf634i45ml7qmrki"),
)
SEEDS = st.integers(1, 2**64 - 1)
SEED = 0xF00D_FACE_0123_4567
_numbers = count()

Log = dict[bytes, bytes]


def new_shard(seed: int = 0, core: Settings = OWN, *, columns: bool = True) -> Shard:
    return Shard(core, Values(core), event_time=True, columns=columns, seed=seed)


def event(kind: str, at: int = NOON, **more: Any) -> bytes:
    common = {"type": kind, "event_id": f"{next(_numbers)}", "occurred_at": format_ms(at)}
    return json.dumps(common | more).encode()


def closed(ticket: str, at: int = NOON, **more: Any) -> bytes:
    return event("ticket.closed", at, ticket_id=ticket, opened_at=format_ms(at - HOUR), **more)


def signalled(name: str, value: int) -> bytes:
    return event("customer.signal", customer_id="c", signal=name, value=value)


def keep(log: Log, shard: Shard, writer: StateLog) -> Log:
    """Flush into a log."""
    for key, value in writer.flush(shard.progress.now):
        log.pop(key, None)
        if value is not None:
            log[key] = value
    return log


def health(shard: Shard) -> list[float]:
    found = samples(shard.settings, [shard], LATER)
    return [s.value for s in found if s.kpi == "health" and s.window == "7d" and s.value]


# Ids that were made to be taken for others -------------------------------------------------------


@pytest.mark.parametrize(("own", "made"), MADE)
def test_whoever_knows_the_seed_can_make_an_id_that_is_taken_for_another(
    own: str, made: str
) -> None:
    digests = Digests()
    assert digests.of(own) == digests.of(made)
    assert len(set(digests.many([own, made]).tolist())) == 1


@given(st.sampled_from(MADE), SEEDS)
def test_under_a_seed_that_was_not_known_it_is_not(pair: tuple[str, str], seed: int) -> None:
    own, made = Digests(seed).many(pair).tolist()
    assert own != made
    assert [Digests(seed).of(each) for each in pair] == [own, made]


def test_long_ids_are_not_told_apart_by_what_xxh3_makes_of_them_under_most_seeds_only() -> None:
    """These it takes for one another under one of some 750 seeds, whichever that is."""
    faces = tuple("😀" * n for n in (62, 30, 16))
    made = [
        f"{faces[0]}a--{a}000A{faces[1]}a--{b}pAtQ{faces[2]}" for a, b in (("a", "c"), ("c", "a"))
    ]
    assert all(len(each) <= 128 for each in made)
    drawn = random.Random(1)
    seeds = [drawn.getrandbits(64) for _ in range(10_000)]
    found = [{xxhash.xxh3_64_intdigest(each.encode(), seed) for each in made} for seed in seeds]
    assert any(len(both) == 1 for both in found)
    assert all(len({Digests(seed).of(each) for each in made}) == 2 for seed in seeds)
    assert all(len(set(Digests(seed).many(made).tolist())) == 2 for seed in seeds)


@given(st.text(max_size=300))
def test_under_the_seed_0_ids_of_any_length_stand_where_those_of_earlier_formats_do(
    identifier: str,
) -> None:
    value = int(xxhash.xxh3_64_intdigest(identifier.encode()))
    assert Digests().of(identifier) % 2**64 == value


@given(st.text(max_size=300), SEEDS)
def test_every_id_stands_elsewhere_under_another_seed(identifier: str, seed: int) -> None:
    found = {Digests(s).of(identifier) for s in (0, seed, seed ^ 1 << 63)}
    assert len(found) == 3
    assert NO_KEY not in found


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize(
    ("seed", "second", "tickets"),
    [
        pytest.param(0, "duplicate", 2, id="a seed that is known"),
        pytest.param(SEED, "accepted", 4, id="one that is not"),
        pytest.param(1, "accepted", 4, id="nor here"),
    ],
)
def test_a_made_id_hides_an_event_or_replaces_a_ticket_s_close_only_where_the_seed_is_known(
    columns: bool, seed: int, second: str, tickets: int
) -> None:
    (event_id, made_event), (ticket, made_ticket) = MADE
    records = [
        closed("m-1", event_id=made_event),
        closed("t-1", event_id=event_id),
        closed(ticket),
        closed(made_ticket, NOON + 1000),
    ]
    shard = new_shard(seed, columns=columns)
    found = outcomes(records, shard.ingest(None, records))
    assert found == ["accepted", second, "accepted", "accepted"]
    assert shard.remembered()["tickets"] == tickets


# The seed of a state -----------------------------------------------------------------------------


@given(SEEDS, SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_state_goes_on_with_its_seed_in_whatever_shard_it_is_read(seed: int, other: int) -> None:
    first = [closed("a"), closed("b"), event("visit.ended", visit_id="v"), signalled("nps", 20)]
    later = [closed("a", NOON + SECOND), signalled("nps", 90), signalled("use", 50)]
    whole = new_shard(seed)
    log: Log = {}
    shard = new_shard(seed)
    writer = StateLog(shard)
    whole.ingest(None, first)
    shard.ingest(None, first)
    keep(log, shard, writer)
    again = new_shard(other)
    writer = StateLog(again)
    writer.recover(log)
    assert [r.outcome for r in again.ingest(None, first)] == ["duplicate"] * len(first)
    assert again.time_of(first[0]) is None
    whole.ingest(None, later)
    again.ingest(None, later)
    keep(log, again, writer)
    assert again.remembered() == whole.remembered()
    assert samples(OWN, [again], LATER) == samples(OWN, [whole], LATER)
    assert again.remembered()["tickets"] == 2
    assert Header.read(log).seed == seed


@pytest.mark.parametrize("seed", [0, SEED])
def test_signals_have_their_weights_under_every_seed_also_after_a_recovery(seed: int) -> None:
    core = replace(OWN, health_weights={"nps": 3.0, "noise": 0.0})
    shard = new_shard(seed, core)
    shard.ingest(None, [signalled("nps", 20), signalled("noise", 100), signalled("use", 100)])
    again = new_shard(5, core)
    # Asked before it knows the state's seed, too.
    assert health(again) == []
    StateLog(again).recover(keep({}, shard, StateLog(shard)))
    assert health(again) == health(shard)
    again.ingest(None, [signalled("nps", 20), signalled("noise", 0), signalled("use", 100)])
    assert health(again) == health(shard) != []


def test_the_seed_stays_where_settings_change() -> None:
    shard = new_shard(SEED)
    record = closed("a")
    shard.ingest(None, [record])
    log = keep({}, shard, StateLog(shard))
    windows = (Window("7d", 7 * DAY, HOUR), Window("2h", 2 * HOUR, HOUR))
    for core in (replace(OWN, windows=windows), replace(OWN, dimensions=("team",)), OWN):
        again = new_shard(7, core)
        writer = StateLog(again)
        writer.recover(log)
        keep(log, again, writer)
        assert Header.read(log).seed == SEED
        assert [r.outcome for r in again.ingest(None, [record])] == ["duplicate"]


@pytest.mark.parametrize("number", [n for n in recorded() if n < 10])
def test_a_state_of_a_format_without_seed_goes_on_with_that_of_all_before(number: int) -> None:
    log, corrections, wanted = read(number)
    shard = recovered(log, seed=SEED)
    writer = StateLog(shard)
    assert Header.read(log).seed == shard.digests.seed == 0
    # Written in the present format, too.
    found = Header.read(keep(dict(log), shard, writer))
    assert (found.format, found.seed) == (FORMAT, 0)
    again = recovered(log, seed=SEED)
    assert rounded(told(again, corrections)) == rounded(wanted)


def changed(*parts: Any) -> Log:
    """A state whose header has other parts behind the shape."""
    shard = new_shard(SEED)
    shard.ingest(None, [closed("a")])
    log = keep({}, shard, StateLog(shard))
    head = unpack(b"header", log[b"header"])
    assert head[5:] == [SEED]
    return log | {b"header": pack([*head[:5], *parts])}


@pytest.mark.parametrize("parts", [(), (-1,), ("secret",), (None,), (1.5,), (SEED, SEED)], ids=repr)
def test_a_header_of_this_format_without_a_seed_is_damaged(parts: tuple[Any, ...]) -> None:
    with pytest.raises(StateRefused, match="damaged") as refused:
        StateLog(new_shard()).recover(changed(*parts))
    assert "secret" not in str(refused.value)


def test_nothing_that_is_told_of_a_state_shows_its_seed() -> None:
    log = changed(SEED)
    found = inspect(log)
    assert found.header is not None
    assert found.header.seed == SEED
    shown = repr(found) + str(found.header)
    for form in (str(SEED), f"{SEED:x}", str(SEED - 2**64), repr(SEED.to_bytes(8, "big"))):
        assert form not in shown
