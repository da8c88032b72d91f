"""Labels that try to break the text of the metrics, to pass for another, or to fill the memory."""

from __future__ import annotations

import json
import subprocess
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stream.core.active import MOST_LABEL_BYTES
from stream.core.labels import intern
from stream.core.settings import HOUR, MINUTE, Settings, Window
from stream.core.shard import Shard
from stream.core.state import StateLog
from tests.fixtures.prometheus import PrometheusTools
from tests.safety.shards import Log, evaluation, event, new_shard, outcomes, recovered
from tests.safety.test_hostile import TEXTS, exposed
from tests.strategies import NOW

AT = "2026-03-02T10:00:00Z"
SETTINGS = Settings(
    windows=(Window("1h", HOUR, MINUTE),),
    dimensions=("channel",),
    rollups=((), ("channel",)),
)

#: Each of a row is taken for the others by people, or by software that makes texts alike.
LOOK_ALIKES: dict[str, Sequence[str]] = {
    "scripts": ("a", "\u0430", "\u0251", "\uff41", "\U0001d41a"),
    "composed and not": ("\u00e9", "e\u0301"),
    "letter and sign": ("\u212b", "\u00c5", "A\u030a"),
    "ligature": ("fi", "\ufb01"),
    "upper and lower case": ("web", "Web", "WEB"),
    "sharp s": ("straße", "strasse", "STRASSE"),
    "dotless i": ("i", "\u0131", "I", "\u0130"),
    "invisible": ("web", "w\u200beb", "web\u200d", "web\u00ad", "\u2060web", "\ufeffweb"),
    "direction": ("web", "\u200fweb", "\u202eweb", "web\u2069"),
    "blanks": ("a b", "a\u00a0b", "a\u2003b", "a  b", " a b", "a b "),
    "dashes": ("a-b", "a\u2010b", "a\u2013b", "a\u2212b"),
    "digits": ("1", "\u0661", "\uff11", "\u00b9"),
    "ends": ("a", "a\n", "a\r\n", "a\0", "a\\", 'a"'),
    "escapes": ("a\nb", "a\\nb", "a\\\nb", "a\\\\nb"),
    "the word for the rest": ("other", "Other", "other ", "\u043ether"),
    "emoji": ("\U0001f600" * 64, "\U0001f600" * 63, "\u2764", "\u2764\ufe0f"),
}


def visited(shard: Shard, values: Iterable[str]) -> None:
    """A visit for each value."""
    visits = [event("visit.ended", AT, visit_id="v", labels={"channel": v}) for v in values]
    assert shard.ingest("cx.visit", visits, NOW) == []


def counted(text: str) -> dict[str, float]:
    """Visits by channel, as Prometheus's own parser reads them."""
    return {
        sample.labels["channel"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "cx_conversion_ratio_denominator" and "channel" in sample.labels
    }


@pytest.mark.parametrize("values", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_different_values(values: Sequence[str]) -> None:
    shard = new_shard(SETTINGS)
    for number, value in enumerate(values, start=1):
        visited(shard, [value] * number)
    assert counted(exposed(shard, NOW)) == {v: n for n, v in enumerate(values, start=1)}


@settings(max_examples=40, deadline=None)
@given(
    st.sets(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
        | st.text('"\\\n\r\0{}=, \u2028x', min_size=1, max_size=6),
        min_size=1,
        max_size=12,
    )
)
def test_any_values_are_read_back_as_they_were_sent(values: set[str]) -> None:
    shard = new_shard(SETTINGS)
    visited(shard, sorted(values))
    assert counted(exposed(shard, NOW)) == dict.fromkeys(values, 1.0)


def test_promtool_finds_nothing_in_what_hostile_labels_make(
    prometheus_tools: PrometheusTools,
) -> None:
    shard = new_shard(SETTINGS)
    hostile = {text[:64] for text in TEXTS.values()}
    hostile |= {value for row in LOOK_ALIKES.values() for value in row}
    visited(shard, sorted(hostile))
    text = exposed(shard, NOW)
    assert counted(text).keys() == hostile
    done = subprocess.run(
        [prometheus_tools.promtool, "check", "metrics"],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("labels", "counts_in"),
    [
        ("null", {}),
        ("{}", {}),
        ('{"channel":null}', {}),
        ('{"Channel":"web"}', {}),
        ('{"channel ":"web"}', {}),
        ('{"channel":"null"}', {"null": 1.0}),
        ('{"channel":" "}', {" ": 1.0}),
        ('{"channel":null,"channel":"web"}', {"web": 1.0}),
        (r'{"channel":"\ud83d\ude00"}', {"\U0001f600": 1.0}),
        (r'{"\u0063hannel":"w\u0065b"}', {"web": 1.0}),
        ('{"channel":""}', None),
        ('{"channel":"' + "x" * 65 + '"}', None),
        ('{"channel":0}', None),
        ('{"channel":["web"]}', None),
        (r'{"channel":"\ud800"}', None),
        (r'{"channel":"\udc00\ud800"}', None),
        (r'{"\ud800":"web"}', None),
        ('{"channel":"a\nb"}', None),
        ('{"channel":"a\0b"}', None),
    ],
)
def test_a_value_counts_is_absent_or_makes_its_record_invalid(
    labels: str, counts_in: dict[str, float] | None
) -> None:
    shard = new_shard(SETTINGS)
    record = event("visit.ended", AT, visit_id="v", labels=1).replace(b":1", b":" + labels.encode())
    refused = shard.ingest("cx.visit", [record], NOW)
    if counts_in is None:
        assert [refusal.outcome for refusal in refused] == ["invalid"]
        assert outcomes(shard) == {"invalid": 1}
        return
    assert refused == []
    assert counted(exposed(shard, NOW)) == counts_in
    # It is in the total, whatever its labels.
    totals = [s for s in evaluation(shard, NOW) if s.kpi == "conversion" and not s.labels]
    assert [s.denominator for s in totals] == [1.0]


def test_other_is_the_same_after_a_restart_whatever_the_values_are() -> None:
    few = replace(SETTINGS, max_values_per_dimension=6)
    values = sorted({value for row in LOOK_ALIKES.values() for value in row} - {"other"})
    Random(1).shuffle(values)
    shard = new_shard(few)
    visited(shard, values)
    log = {key: value for key, value in StateLog(shard).flush(NOW) if value is not None}
    kept = counted(exposed(shard, NOW))
    assert kept == {**dict.fromkeys(values[:6], 1.0), "other": len(values) - 6.0}
    again = recovered(few, log)
    assert counted(exposed(again, NOW)) == kept
    visited(again, reversed(values))
    assert counted(exposed(again, NOW)) == {value: 2 * n for value, n in kept.items()}


def started(shard: Shard, number: int, labels: dict[str, str], **more: object) -> None:
    fields = {"subscription_id": f"s{number}", "labels": labels, **more}
    assert shard.ingest("cx.subscription", [event("subscription.started", AT, **fields)], NOW) == []


def active(shard: Shard) -> dict[bytes, int]:
    """What was started and not cancelled, by set of labels."""
    return {key: found.net.total for key, found in shard.active.sets.items()}


@pytest.mark.parametrize("characters", [3 << 20, 200_000])
def test_a_label_of_any_name_fits_into_the_records_of_the_state(characters: int) -> None:
    """One that does not would be read and fail again for ever."""
    shard = new_shard(SETTINGS)
    started(shard, 1, {"n" * characters: "x"})
    started(shard, 2, {"n" * characters: "x", "channel": "web"})
    records = StateLog(shard).flush(NOW)
    assert max(len(key) + len(value or b"") for key, value in records) < 16 * 1024


def test_more_sets_of_labels_than_a_record_holds_are_written_and_read_back() -> None:
    """Random bytes, which pack to as many: one delta of them all would never be written."""
    shard = new_shard(SETTINGS)
    log = Log(shard)
    rolls = Random(1)
    sets = [intern({rolls.randbytes(1_900).hex(): "x", "channel": "web"}) for _ in range(3_000)]
    for part in (sets[:2_500], sets[2_500:], sets[:1]):
        for labels in part:
            shard.active.count(labels, NOW, 1, NOW)
        log.flush(NOW)
        deltas = [len(value) for key, value in log.records.items() if key.startswith(b"delta")]
        assert max(deltas) < MOST_LABEL_BYTES
        assert active(recovered(SETTINGS, log.records)) == active(shard)
    assert sum(active(shard).values()) == 3_001
    # Once blocks hold it all, no delta but the last is left.
    for _ in range(200):
        shard.active.count(sets[0], NOW, 1, NOW)
        log.flush(NOW)
    assert sum(key.startswith(b"delta") for key in log.records) == 1
    assert active(recovered(SETTINGS, log.records)) == active(shard)


@pytest.mark.parametrize("characters", [100, 1_000_000])
def test_labels_of_a_megabyte_each_are_let_go_of(characters: int) -> None:
    """Segments remember four times as many labels as there may be segments."""
    shard = new_shard(SETTINGS)
    labels = intern({"channel": "web", "n" * characters: "x"})
    alive = weakref.ref(labels)
    assert shard.segments.row(labels, "EUR", NOW) == shard.segments.row(labels, "EUR", NOW)
    shard.active.count(labels, NOW, 1, NOW)
    del labels
    assert (alive() is None) == (characters > 100)


def test_sets_of_long_labels_are_counted_exactly_and_stay_apart() -> None:
    shard = new_shard(SETTINGS)
    name = "n" * 100_000
    day_before = "2026-03-01T10:00:00Z"
    for number, labels in enumerate(({name: "a"}, {name: "b"}, {name: "a"}, {name[:50_000]: "a"})):
        started(shard, number, labels)
    base = {"labels": {name: "a"}, "active": 100}
    values = [event("subscription.base", day_before, **base)]
    assert shard.ingest("cx.subscription", values, NOW) == []
    log = {key: value for key, value in StateLog(shard).flush(NOW) if value is not None}
    for each in (shard, recovered(SETTINGS, log)):
        assert sorted((s.net.total, len(s.bases)) for s in each.active.sets.values()) == [
            (1, 0),
            (1, 0),
            (2, 1),
        ]
        # One more of each, as after a restart.
        started(each, 9, {name: "b"})
        assert len(each.active.sets) == 3


def test_values_of_64_emoji_fill_neither_the_series_nor_the_memory() -> None:
    few = replace(SETTINGS, max_values_per_dimension=5, max_segments=8)
    shard = new_shard(few)
    rolls = Random(1)
    for _ in range(10):
        faces = [
            "".join(chr(0x1F600 + rolls.randrange(64)) for _ in range(64)) for _ in range(1000)
        ]
        visited(shard, faces)
    assert len(counted(exposed(shard, NOW))) == 6
    assert len(shard.segments.rows) <= 8
    assert len(json.dumps(sorted(counted(exposed(shard, NOW))))) < 10_000
