"""What a state's header says, what becomes of it under other settings, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from stream import __version__
from stream.core import state
from stream.core.catalogue import LAYOUT
from stream.core.kpi import Counter
from stream.core.layout import Layout
from stream.core.segments import Segments
from stream.core.settings import DAY, HOUR, MINUTE, SECOND, Rule, Settings, Window
from stream.core.shape import Shape, facts
from stream.core.state import FORMAT, Header, StateLog, StateRefused
from stream.core.state_records import pack
from stream.core.timestamps import format_ms
from tests.core import recorded_state
from tests.core.running import new_shard

RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data/layout.json").read_text()
)
OWN = Settings()
STORES = b"panes", b"tickets"
VISIT = b'{"type":"visit.ended","event_id":"1","visit_id":"v","occurred_at":"2026-03-02T12:00:00Z"}'


def written() -> dict[bytes, bytes]:
    """A small state."""
    shard = new_shard(OWN)
    shard.ingest(None, [VISIT])
    return {k: v for k, v in StateLog(shard).flush(shard.progress.now) if v is not None}


def with_header(*parts: Any) -> dict[bytes, bytes]:
    return {**written(), b"header": pack(list(parts))}


def refusal(records: dict[bytes, bytes]) -> str:
    with pytest.raises(StateRefused) as refused:
        StateLog(new_shard(OWN)).recover(records)
    assert "cxkpi state rebuild" in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def shape(**changed: Any) -> Any:
    return {**msgspec.to_builtins(Shape.of(OWN)), **changed}


def test_a_state_says_which_version_wrote_it_with_which_settings() -> None:
    header = Header.read(written())
    assert (header.version, header.shape.settings()) == (__version__, OWN)


def test_a_state_without_header_is_refused() -> None:
    records = written()
    del records[b"header"]
    assert "no header" in refusal(records)


@pytest.mark.parametrize("value", [b"", b"x", pack([1])[:-3]])
def test_a_damaged_header_is_refused(value: bytes) -> None:
    assert "damaged" in refusal({**written(), b"header": value})


def test_a_header_that_lacks_a_setting_is_refused() -> None:
    lacking = shape()
    del lacking["windows"]
    assert "windows" in refusal(with_header(FORMAT, "0.1.0", 1, {}, lacking, 0))


def test_an_older_format_is_refused() -> None:
    assert f"format 1, this version reads 4, 5, 6, 7, 8, 9 and {FORMAT}" in refusal(
        with_header(1, {})
    )


def test_a_newer_format_is_refused_with_the_version_that_wrote_it() -> None:
    assert "of version 9.0.0" in refusal(with_header(FORMAT + 1, "9.0.0", "anything"))


def test_no_words_of_a_state_steer_the_terminal_that_is_told_of_it() -> None:
    forged = "9\x1b[2J\nforged"
    header = with_header(FORMAT, forged, 1, {}, shape(dimensions=(forged,)), 0)
    said = [
        refusal(with_header(FORMAT + 1, forged, "anything")),
        refusal({**written(), f"block/{forged}".encode(): b""}),
        Header.read(header).version,
        *(f"{f.what} {f.text}" for f in facts(Header.read(header).shape, OWN, {})),
    ]
    assert len(said) > 3
    assert not [text for text in said if not text.isprintable()]


def test_a_state_that_lacks_a_delta_is_refused() -> None:
    records = written()
    del records[b"delta/1"]
    assert "lacks records" in refusal(records)


def test_a_counter_that_this_version_does_not_know_is_refused_with_the_version_that_does() -> None:
    newer = shape(places={**LAYOUT.places, "surprises": (60, 1, 1.0)})
    assert "of version 9.0.0, which counts surprises" in refusal(
        with_header(FORMAT, "9.0.0", 1, {}, newer, 0)
    )


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("nps_answers", (1, 1, 1.0)),
        ("amount", (33, 1, 1e9)),
        ("sentiment_sum", (15, 1, 1e6)),
        ("resolution_times", (*LAYOUT.places["resolution_times"][:2], 0.02)),
    ],
)
def test_a_counter_or_sketch_that_counts_otherwise_is_refused(name: str, place: Any) -> None:
    other = shape(places={**LAYOUT.places, name: place})
    assert f"counts {name} otherwise" in refusal(with_header(FORMAT, "0.0.9", 1, {}, other, 0))


def test_a_state_that_lacks_counters_of_this_version_is_read() -> None:
    older = dict(list(LAYOUT.places.items())[:20])
    shard = new_shard(OWN)
    StateLog(shard).recover(with_header(FORMAT, "0.0.9", 1, {}, shape(places=older), 0))
    assert shard.progress.outcomes["cx.visit"] == {"accepted": 1}


@pytest.mark.parametrize("version", RECORDED)
def test_counters_stand_where_they_stood_in_released_versions(version: str) -> None:
    now = json.loads(json.dumps(LAYOUT.places))
    assert {name: now.get(name) for name in RECORDED[version]} == RECORDED[version]


def test_a_later_counter_stands_after_all_earlier_ones_wherever_it_is_listed() -> None:
    def positions(*counters: Counter) -> dict[str, int]:
        return Layout(counters, ["times"]).positions

    first, wide, last = Counter("a", ""), Counter("b", "", wide=True), Counter("c", "")
    former = positions(first, wide, last)
    later = positions(first, Counter("new", "", since=2), wide, last)
    assert {k: later[k] for k in former} == former
    assert later["new"] == 4


def test_a_state_of_another_version_gets_a_new_header() -> None:
    records = with_header(FORMAT, "0.0.9", 1, {}, shape(), 0)
    shard = new_shard(OWN)
    log = StateLog(shard)
    log.recover(records)
    flushed = dict(log.flush(shard.progress.now))
    assert Header.read(records | {b"header": flushed[b"header"] or b""}).version == __version__


def said(settings: Settings, former: Settings = OWN) -> list[str]:
    return [f"{f.what}: {f.becomes}" for f in facts(Shape.of(former), settings, {})]


def windows(*some: tuple[str, int, int]) -> Settings:
    return replace(OWN, windows=tuple(Window(*w) for w in some))


HOURLY, WEEKLY = ("1h", HOUR, MINUTE), ("7d", 7 * DAY, HOUR)
CASES: list[tuple[Settings, Settings, Iterable[str]]] = [
    (OWN, OWN, []),
    (windows(WEEKLY), windows(WEEKLY, HOURLY),
     ["window 1h: starts empty", "active subscriptions: kept", "bases: kept"]),
    (windows(WEEKLY, HOURLY), windows(WEEKLY), ["window 1h: dropped", "bases: kept"]),
    (windows(HOURLY), windows(("1h", HOUR, 5 * MINUTE)), ["window 1h: kept", "bases: kept"]),
    (windows(HOURLY), windows(("1h", HOUR, 90 * SECOND)),
     ["window 1h: dropped", "active subscriptions: kept", "bases: kept"]),
    (windows(HOURLY, WEEKLY), windows(HOURLY, WEEKLY, ("5m", 5 * MINUTE, MINUTE)),
     ["window 5m: kept"]),
    (windows(WEEKLY), windows(WEEKLY, ("14d", 14 * DAY, HOUR)),
     ["window 14d: starts empty", "memory: kept", "active subscriptions: kept"]),
    (OWN, replace(OWN, dimensions=("region", "channel")), []),
    (OWN, replace(OWN, dimensions=("channel",), rollups=((), ("channel",))),
     ["dimension region: dropped"]),
    (OWN, replace(OWN, dimensions=("channel", "region", "plan"), rollups=(*OWN.rollups, ("plan",))),
     ["dimension plan: starts empty", "rollup [plan]: starts empty"]),
    (OWN, replace(OWN, rollups=((),)),
     ["rollup [channel]: kept", "rollup [region]: kept", "rollup [channel, region]: kept"]),
    (replace(OWN, rollups=((),)), replace(OWN, rollups=((), ("region",))),
     ["rollup [region]: kept"]),
    (OWN, replace(OWN, rollups=(*OWN.rollups[:3], ("region", "channel"))), []),
    (OWN, replace(OWN, cart_timeout_ms=1), ["cart.timeout: kept"]),
    (OWN, replace(OWN, dedupe_ms=0), ["dedupe: kept"]),
    (OWN, replace(OWN, rapid_response_ms=1), ["ticket.rapid_response: kept"]),
    (OWN, replace(OWN, rapid_resolution_ms=1), ["ticket.rapid_resolution: kept"]),
    (OWN, replace(OWN, negative_emotions=frozenset()), ["emotion.negative: kept"]),
    (OWN, replace(OWN, health_weights={"usage": 2.0}), ["health.weights: kept"]),
    (OWN, replace(OWN, max_segments=5), ["max_segments: kept"]),
    (OWN, replace(OWN, max_remembered=5), ["max_remembered: kept"]),
    (OWN, replace(OWN, max_values_per_dimension=5), ["max_values_per_dimension: kept"]),
]  # fmt: skip


@pytest.mark.parametrize(("former", "later", "expected"), CASES)
def test_each_change_is_told_with_what_becomes_of_it(
    former: Settings, later: Settings, expected: list[str]
) -> None:
    assert said(later, former) == expected


@pytest.mark.parametrize(("limit", "told"), [(5, False), (20_000, True)])
def test_a_limit_that_is_raised_leaves_what_had_no_room_in_sums_and_says_what_helps(
    limit: int, told: bool
) -> None:
    (fact,) = facts(Shape.of(OWN), replace(OWN, max_segments=limit), {})
    assert ("subscriptions that had no room" in fact.text) == told
    assert ("`cxkpi state rebuild`" in fact.text) == told


def test_a_state_that_does_not_tell_how_much_it_may_remember_forgets_nothing_when_it_is_shown() -> (
    None
):
    former = Shape.of(OWN)
    former = msgspec.structs.replace(former, max_remembered=None)
    assert facts(former, replace(OWN, max_remembered=5), {}) == ()
    assert former.settings().max_remembered > 100_000_000


@pytest.mark.parametrize(
    ("limit", "becomes"),
    [
        (
            1_000,
            (
                "what is beyond it is forgotten with the next flush, in parts of up to 4,096, the"
                " oldest first"
            ),
        ),
        (9_000_000, "what was forgotten stays so"),
    ],
)
def test_what_is_remembered_is_forgotten_in_parts_and_never_again_remembered(
    limit: int, becomes: str
) -> None:
    (fact,) = facts(Shape.of(OWN), replace(OWN, max_remembered=limit), {})
    assert fact.text == f"{limit} instead of 5000000 of a kind in a shard; {becomes}"


def test_a_fact_is_one_sentence() -> None:
    fact, _ = facts(Shape.of(windows(HOURLY)), windows(("1h", HOUR, 5 * MINUTE)), {})
    assert str(fact) == "window 1h: kept; its panes of 1m are added up to panes of 5m"


def rules(*waits: tuple[str, float]) -> tuple[Rule, ...]:
    """Spikes over a week, and one that has nothing to do with it."""
    weekly = (
        Rule(name, "churn", "1h", baseline="7d", factor=2.0, min_covered=part)
        for name, part in waits
    )
    return (*weekly, Rule("Other", "csat", "1h", below=0.5))


@pytest.mark.parametrize(
    ("waits", "told"),
    [
        ([], ""),
        ([("A", 0.9)], "; alert A has no data until min_covered is reached"),
        ([("A", 0.9), ("B", 1)], "; alerts A and B have no data until min_covered is reached"),
        ([("A", 0)], "; alert A goes by the little that it holds at first, as min_covered is 0"),
        (
            [(name, 0) for name in "ABCD"],
            (
                "; alerts A, B, C and 1 more go by the little that it holds at first, as"
                " min_covered is 0"
            ),
        ),
        (
            [("A", 0), ("B", 0.5)],
            (
                "; alert B has no data until min_covered is reached; alert A goes by the little"
                " that it holds at first, as min_covered is 0"
            ),
        ),
    ],
)
@pytest.mark.parametrize("former", [(HOURLY,), (HOURLY, ("7d", 7 * DAY, 7 * HOUR))])
def test_alerts_that_go_by_a_window_that_starts_empty_are_named(
    former: tuple[tuple[str, int, int], ...], waits: list[tuple[str, float]], told: str
) -> None:
    now = replace(windows(HOURLY, WEEKLY), rules=rules(*waits))
    text = next(f.text for f in facts(Shape.of(windows(*former)), now, {}) if "7d" in f.what)
    assert text.endswith(("what it needs" if len(former) == 1 else "so it starts empty") + told)


def test_alerts_that_go_by_windows_that_are_kept_are_not_named() -> None:
    now = replace(windows(("1h", HOUR, 5 * MINUTE), WEEKLY), rules=rules(("A", 0.9)))
    assert not any("alert" in f.text for f in facts(Shape.of(windows(HOURLY, WEEKLY)), now, {}))


def test_damage_that_no_checksum_tells_is_refused_all_the_same() -> None:
    """Records of formats up to 6 had none."""
    records, _, _ = recorded_state.read(6)
    panes, tickets = (next(k for k in records if k.startswith(b"block/" + s)) for s in STORES)
    with pytest.raises(StateRefused, match=r"the state log is damaged: .*; stop all workers"):
        recorded_state.recovered({**records, panes: records[tickets]})


def test_memory_that_is_short_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    records, _, _ = recorded_state.read(6)
    monkeypatch.setattr(Segments, "load", mock.Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        recorded_state.recovered(records)


@pytest.mark.parametrize("place", [b"", b"x", b"-1", b"\xb2"])
def test_a_record_that_belongs_nowhere_in_its_block_is_damaged(place: bytes) -> None:
    records = written()
    key = next(key for key in records if key.startswith(b"block/"))
    assert "damaged" in refusal({**records, key + b"#" + place: b"x"})


def test_a_frame_that_says_to_be_of_any_size_is_damaged() -> None:
    records = written()
    key = next(k for k in records if k.startswith(b"block/"))
    # The size of the content in eight bytes, which no checksum is of.
    value = b"\x28\xb5\x2f\xfd\xe4" + b"\x00" * 7 + b"\x7f" + records[key][6:]
    assert "damaged" in refusal({**records, key: value})


def test_a_mistake_of_ours_is_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(Segments, "load", load)
    with pytest.raises(KeyError, match="a mistake"):
        StateLog(new_shard(OWN)).recover(written())


def test_what_flushes_do_to_blocks_is_known_whoever_reads_the_log_next() -> None:
    shard = new_shard(OWN)
    log, durable = StateLog(shard), dict[bytes, bytes]()
    for minute in range(0, 40 * 24 * 60, 997):
        at = 1_772_445_600_000 + minute * MINUTE
        event = json.loads(VISIT) | {"event_id": f"{minute}", "occurred_at": format_ms(at)}
        shard.ingest(None, [json.dumps(event).encode()])
        for key, value in log.flush(at):
            durable.pop(key, None)
            if value is not None:
                durable[key] = value
        log_of_blocks = {key for key in durable if key.startswith(b"block/")}
        assert log._contents._versions.keys() == log_of_blocks
        if minute % 10 == 0:
            shard = new_shard(OWN)
            log = StateLog(shard)
            log.recover(durable)
    assert shard.progress.outcomes["cx.visit"] == {"accepted": len(range(0, 40 * 24 * 60, 997))}


def test_windows_that_are_put_in_another_order_begin_when_they_began() -> None:
    week, hour = Window("7d", 7 * DAY, HOUR), Window("1h", HOUR, MINUTE)
    first = 1_772_445_600_000

    def kept(durable: dict[bytes, bytes], log: StateLog) -> None:
        for key, value in log.flush(first):
            durable.pop(key, None)
            if value is not None:
                durable[key] = value

    def visit(number: int, at: int) -> bytes:
        event = {"event_id": f"{number}", "visit_id": f"{number}", "occurred_at": format_ms(at)}
        return json.dumps(json.loads(VISIT) | event).encode()

    durable: dict[bytes, bytes] = {}
    shard = new_shard(replace(OWN, windows=(week,)))
    log = StateLog(shard)
    shard.ingest(None, [visit(1, first)])
    kept(durable, log)
    shard = new_shard(replace(OWN, windows=(week, hour)))
    log = StateLog(shard)
    log.recover(durable)
    kept(durable, log)
    with mock.patch.object(state, "BLOCK_BUDGET", 0):
        # From before the new window began.
        shard.ingest(None, [visit(2, first - MINUTE)])
        kept(durable, log)
    for windows in ((week, hour), (hour, week)):
        again = new_shard(replace(OWN, windows=windows))
        StateLog(again).recover(durable)
        counted = {
            window.label: again.windows.pane(window.label, (first - MINUTE) // window.pane_ms)[1]
            for window in windows
        }
        assert counted["7d"].size
        assert not counted["1h"].size


def test_what_was_deleted_comes_back_with_no_part_of_what_it_was() -> None:
    """Its start is in no delta any more, its block gone, its cancellation in a delta that waits."""
    core = replace(OWN, windows=(Window("7d", 7 * DAY, HOUR),), max_segments=2)
    noon, number = 1_772_452_800_000, count()

    def told(kind: str, at: int, **more: Any) -> bytes:
        event = {"type": kind, "event_id": f"{next(number)}", "occurred_at": format_ms(at)}
        return json.dumps(event | more).encode()

    def subscribed(kind: str, at: int, who: str, channel: str) -> bytes:
        return told(kind, at, subscription_id=who, labels={"channel": channel})

    shard, durable = new_shard(core), dict[bytes, bytes]()
    log = StateLog(shard)

    def take(at: int, *events: bytes) -> None:
        shard.ingest(None, list(events))
        for key, value in log.flush(at):
            durable.pop(key, None)
            if value is not None:
                durable[key] = value

    with mock.patch.multiple(state, BLOCK_BUDGET=1, BLOCK_COST=0):
        others = [subscribed("subscription.started", noon - 9 * DAY, c, "app") for c in "bcd"]
        take(noon, subscribed("subscription.started", noon - 30 * DAY, "a", "web"), *others)
        for n in range(40):
            take(noon, told("visit.ended", noon, visit_id=f"v{n}"))
        waiting = [told("visit.ended", noon - h * HOUR, visit_id=f"w{h}") for h in range(100)]
        cancelled = subscribed("subscription.cancelled", noon - 20 * DAY, "a", "web")
        take(noon, *waiting, cancelled)
        take(noon + 11 * MINUTE, told("visit.ended", noon + 11 * MINUTE, visit_id="y"))
    assert shard.active.sets.keys() == {b'{"channel":"app"}'}
    again = new_shard(core)
    StateLog(again).recover(durable)
    assert again.active.sets.keys() == shard.active.sets.keys()
