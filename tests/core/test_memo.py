"""Values that are made once for keys that come again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.core.memo import Memo


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_every_look_up_gives_what_would_be_made_and_no_more_is_kept_than_the_bound(
    keys: list[int], bound: int
) -> None:
    memo = Memo[int, int](lambda key: key * key, bound)
    for key in keys:
        assert memo[key] == key * key
        assert len(memo) <= bound


def test_what_is_kept_is_made_once() -> None:
    made: list[str] = []

    def make(key: str) -> int:
        made.append(key)
        return len(key)

    memo = Memo[str, int](make, 9)
    assert [memo[key] for key in ("a", "bc", "a", "bc")] == [1, 2, 1, 2]
    assert made == ["a", "bc"]
