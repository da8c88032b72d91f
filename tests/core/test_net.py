"""Counts in pieces are the same as a plain dictionary of units, whatever happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import net
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.net import Net, Piece

_units = st.integers(-20, 60)
_changes = st.one_of(
    st.tuples(st.just("count"), _units, st.integers(-3, 3)),
    st.tuples(st.just("forget"), _units, st.just(0)),
    st.tuples(st.just("join"), _units, st.integers(1, 12)),
)


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    with mock.patch.object(net, "FULL", 3):
        yield


def multiples(step: int, end: int) -> Callable[[int], int]:
    return lambda unit: unit // step * step if unit < end else unit


def change(found: Net, plain: dict[int, int], what: str, unit: int, n: int) -> dict[int, int]:
    """Do the same to both; the dictionary after it."""
    if what == "count":
        found.count(unit, n)
        return {**plain, unit: plain.get(unit, 0) + n}
    if what == "forget":
        assert any(u < unit for u, _ in found.items()) == found.forget_before(unit)
        return {u: n for u, n in plain.items() if u >= unit}
    joined = multiples(n, unit)
    found.join(joined, unit)
    after: dict[int, int] = {}
    for u, n in plain.items():
        after[joined(u)] = after.get(joined(u), 0) + n
    return after


def without_zeros(counts: dict[int, int]) -> dict[int, int]:
    return {unit: n for unit, n in counts.items() if n}


@settings(max_examples=100, deadline=None)
@given(st.lists(_changes, max_size=60), st.lists(st.tuples(_units, _units), min_size=5, max_size=5))
def test_it_is_the_same_as_a_dictionary_of_units(
    changes: list[tuple[str, int, int]], spans: list[tuple[int, int]]
) -> None:
    found, plain = Net(), dict[int, int]()
    for what, unit, n in changes:
        plain = change(found, plain, what, unit, n)
        for first, end in spans:
            wanted = sum(n for u, n in plain.items() if u < end)
            wanted -= sum(n for u, n in plain.items() if u < first)
            assert found.between(first, end) == wanted
        assert without_zeros(dict(found.items())) == without_zeros(plain)
        assert len(found) == len(found.items()) == len(dict(found.items()))
        assert found.total == sum(plain.values())
        assert found.latest == max(dict(found.items()), default=None)
        starts = [piece.start for piece in found.pieces]
        assert starts == sorted(set(starts))
        assert starts[:1] in ([], [BEFORE_ALL])
        ends = [*starts[1:], 1 << 60][: len(starts)]
        for piece, end in zip(found.pieces, ends, strict=True):
            assert len(piece) <= 2 * net.FULL
            assert all(piece.start <= unit < end for unit in piece.by_unit)
    assert Net.of(found.items()).items() == sorted(found.items())
    told = Net(Piece.load(piece.dump()) for piece in found.pieces)
    assert told.items() == found.items()
    assert all(told.between(*span) == found.between(*span) for span in spans)


@settings(max_examples=100, deadline=None)
@given(st.lists(_changes, max_size=30), st.lists(_changes, max_size=4))
def test_whoever_replaces_the_renewed_pieces_has_them_all(
    changes: list[tuple[str, int, int]], more: list[tuple[str, int, int]]
) -> None:
    found = Net()
    for what, unit, n in changes:
        change(found, dict(found.items()), what, unit, n)
    told = [piece.dump() for piece in found.pieces]
    for piece in found.pieces:
        piece.renewed = False
    for what, unit, n in more:
        change(found, dict(found.items()), what, unit, n)
    wanted = [piece.dump() for piece in found.pieces]
    told = [*told, *([None] * len(wanted))][: len(wanted)]
    assert wanted == [
        piece.dump() if piece.renewed else known
        for piece, known in zip(found.pieces, told, strict=True)
    ]


def test_only_the_piece_that_is_counted_in_is_renewed() -> None:
    found = Net.of((unit, 1) for unit in range(10))
    for piece in found.pieces:
        piece.renewed = False
    found.count(4, 1)
    found.count(10, 1)
    assert [piece.renewed for piece in found.pieces] == [False, True, False, True]


def test_pieces_from_an_end_on_stay_what_they_are_where_units_before_it_are_joined() -> None:
    found = Net.of((unit, 1) for unit in range(12))
    former = list(found.pieces)
    assert found.join(multiples(3, 6), 6)
    assert found.pieces[-2:] == former[-2:]
    assert found.items()[:2] == [(0, 3), (3, 3)]
    assert not found.join(multiples(3, 6), 6), "nothing is left to join"


def test_pieces_that_were_not_told_yet_count_as_zero() -> None:
    found = Net(Net.of((unit, 1) for unit in range(12)).pieces[2:])
    assert found.between(-5, 8) == 2
    assert Net().between(-5, 5) == 0
