"""Noise between clean events, and what it has to come out as."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.core.settings import DAY, MINUTE
from stream.generate.company import events
from stream.generate.draws import Record
from stream.generate.noise import LONGEST_REPEAT, Noise, noisy

START = 1_772_445_600_000


@pytest.fixture(scope="module")
def clean() -> list[Record]:
    return list(events(START, START + 10 * MINUTE, rate=10, seed=1))


@settings(max_examples=20, deadline=None)
@given(
    shares=st.tuples(*[st.sampled_from([0.0, 0.01, 0.2])] * 4), seed=st.integers(0, 1_000)
)  # fmt: skip
def test_noise_adds_what_it_counts_and_changes_nothing_else(
    clean: list[Record], shares: tuple[float, float, float, float], seed: int
) -> None:
    noise = Noise(*shares, seed=seed)
    records = list(noisy(clean, noise))
    assert len(records) == len(clean) + noise.added.total()
    assert [at for at, *_ in records] == sorted(at for at, *_ in records)

    copies = Counter(record[1:] for record in records)
    assert all(copies[record[1:]] >= 1 for record in clean)
    first: dict[bytes, int] = {}
    outcomes: Counter[str] = Counter()
    known = {record[1:] for record in clean}
    decoders = {record[1]: Decoder(record[1]) for record in records}
    for at, topic, key, value in records:
        if (topic, key, value) in known:
            outcomes["duplicate"] += value in first
            assert at - first.setdefault(value, at) <= LONGEST_REPEAT
            continue
        decoded = decoders[topic].decode([value])
        if isinstance(decoded.events[0], Invalid):
            outcomes["invalid"] += 1
        elif decoded.at[0] < at - 366 * DAY:
            outcomes["late"] += 1
        else:
            outcomes["orphan"] += 1
    assert +outcomes == +Counter({str(k): n for k, n in noise.added.items()})


def test_without_shares_nothing_is_added(clean: list[Record]) -> None:
    assert list(noisy(clean, Noise())) == clean


def test_the_same_seed_gives_the_same_noise(clean: list[Record]) -> None:
    one, two, three = (
        list(noisy(clean, Noise(0.1, 0.1, 0.1, 0.1, seed=seed))) for seed in (1, 1, 2)
    )
    assert one == two
    assert one != three
