"""Tables of ``cxkpi replay``: what gives way where a terminal is narrow, and what never does."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from stream.cli.replay_output import labels_text, number, print_table

ROWS = [
    {"KPI": "cart_abandonment", "labels": "", "value": "0.681492", "denominator": "697"},
    {"KPI": "art_quantile", "labels": "channel=app,quantile=0.99,region=us", "value": "95,111.7",
     "denominator": ""},
]  # fmt: skip


def _printed(width: int) -> list[str]:
    file = io.StringIO()
    screen = Console(file=file, width=width)
    print_table(ROWS, screen, right=("value", "denominator"), spare=("denominator",))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_with_room_a_row_is_a_line() -> None:
    assert _printed(200) == [
        "KPI               labels                                  value  denominator",
        "cart_abandonment                                       0.681492          697",
        "art_quantile      channel=app,quantile=0.99,region=us  95,111.7",
    ]


def test_without_room_labels_break_at_commas_before_a_column_is_left_out() -> None:
    assert _printed(55) == [
        "KPI               labels             value  denominator",
        "cart_abandonment                  0.681492          697",
        "art_quantile      channel=app,    95,111.7",
        "                  quantile=0.99,",
        "                  region=us",
    ]


def test_a_column_that_can_be_spared_is_left_out_before_a_name_or_a_number_is_cut() -> None:
    assert _printed(42) == [
        "KPI               labels             value",
        "cart_abandonment                  0.681492",
        "art_quantile      channel=app,    95,111.7",
        "                  quantile=0.99,",
        "                  region=us",
    ]


@pytest.mark.parametrize("width", [42, 54, 55, 60, 77, 78, 200])
def test_names_and_numbers_are_whole_and_lines_fit(width: int) -> None:
    lines = _printed(width)
    assert max(map(len, lines)) <= width
    said = "\n".join(lines).split()
    for word in ("cart_abandonment", "art_quantile", "0.681492", "95,111.7"):
        assert word in said


@given(
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.text("xy日", max_size=9)), min_size=1),
    st.integers(10, 60),
)
def test_labels_are_whole_however_they_are_broken(labels: list[dict[str, str]], width: int) -> None:
    file = io.StringIO()
    texts = [labels_text(found) for found in labels]
    rows = [{"KPI": "nps", "labels": text, "value": "1"} for text in texts]
    print_table(rows, Console(file=file, width=width), right=("value",))
    lines = file.getvalue().splitlines()
    parts = [part for text in texts for part in text.split(",")]
    needed = len("nps") + 2 + max(len("labels"), *(cell_len(p) + 1 for p in parts)) + 2 + 5
    assert max(map(cell_len, lines)) <= max(width, needed)
    said = [line[len("nps  ") :].removesuffix("1").strip() for line in lines[1:]]
    assert "".join(said).replace(" ", "") == "".join(texts).replace(" ", "")


def test_wide_letters_take_their_room_and_names_of_columns_stand_out() -> None:
    file = io.StringIO()
    screen = Console(file=file, width=60, force_terminal=True, color_system="standard")
    rows = [{"KPI": "nps", "labels": "region=日本", "value": "1"}, {**ROWS[0], "value": "2"}]
    print_table(rows, screen, right=("value",))
    assert file.getvalue().splitlines() == [
        "\x1b[1mKPI               labels       value\x1b[0m",
        "nps               region=日本      1",
        "cart_abandonment                   2",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        (0.0065, "0.0065"),
        (58220.0, "58,220"),
        (6385836.295, "6,385,836"),
        (-2160000.0, "-2,160,000"),
        (1e15, "1e+15"),
    ],
)
def test_numbers_have_six_digits_or_all_before_the_point(value: float | None, said: str) -> None:
    assert number(value) == said
