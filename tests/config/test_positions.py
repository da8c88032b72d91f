"""The line of every key. In these documents every number is the line it stands on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from stream.config.errors import Path
from stream.config.positions import Positions

TRICKY = '''\
top = @  # a comment with = and [brackets]
"quoted \\" key" = @
'literal # key' = @
dotted . key."with.dot" = @
text = "no # comment, no [table]"
after_text = @
lines = """
not = a key
[not.a.table]
# no comment \\""" still text
""""
after_lines = @
literal = \'\'\'
it's = "
[[nor this]]\'\'\'
after_literal = @
empty = []
inline = { a = @, b = { c = @ }, d = [@, { e = @ }] }
array = [  # comment with ]
  @, @,

  [
    @,
    { x = @ }, # }
  ],
]
time = 2024-05-01 10:00:00
after_time = @

  [ table . "sub table" ]   # comment
key = @
[[many]]
a = @
[many.inner]
b = @
[[many.deep]]
c = @
[[many.deep]]
c = @
[other]
d = @
[[many]]
a = @
  [[many.deep]]
  c = @
'''


def _numbered(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(line.replace("@", str(n)) for n, line in enumerate(lines, start=1))


def _numbers(value: object, path: Path = ()) -> Iterator[tuple[Path, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, (*path, index))
    elif type(value) is int:
        yield path, value


def _assert_every_number_is_its_line(text: str) -> None:
    positions = Positions(text)
    wrong = {p: (n, positions.line(p)) for p, n in _numbers(tomllib.loads(text))}
    assert {p: lines for p, lines in wrong.items() if lines[0] != lines[1]} == {}


def test_every_key_of_a_tricky_document_has_its_line() -> None:
    text = _numbered(TRICKY)
    assert len(list(_numbers(tomllib.loads(text)))) == TRICKY.count("@")
    _assert_every_number_is_its_line(text)


def test_windows_line_ends_count_once() -> None:
    assert Positions("a = 1\r\n[b]\r\nc = 3\r\n".replace("\r\n", "\n")).line(("b", "c")) == 3
    assert Positions("a = 1\r\n[b]\r\nc = 3\r\n").line(("b", "c")) == 3


def test_what_is_missing_has_the_line_of_the_table_around_it() -> None:
    positions = Positions("a = 1\n\n[[alert]]\nname = 4\n[[alert]]\nname = 6\n")
    assert positions.line(("alert", 1, "kpi")) == 5
    assert positions.line(("alert", 0, "kpi")) == 3
    assert positions.line(("alert",)) == 3
    assert positions.line(("kafka", "group")) is None


_KEY = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", '"#"', "1"])
_STRING = st.sampled_from(['"x # y"', "'[z]'", '"""\nk = 1\n"""', "'''\n[t]\n'''", '"\\""'])
_VALUE = st.recursive(
    st.one_of(st.just("@"), _STRING, st.sampled_from(["true", "1.5", "2024-05-01"])),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda items: "[\n" + ", # ]\n".join(items) + "]"
    ),
    max_leaves=6,
)
_TABLE = st.dictionaries(_KEY, _VALUE, max_size=4)


@given(top=_TABLE, tables=st.lists(_TABLE, max_size=4), again=st.lists(_TABLE, max_size=3))
def test_every_key_of_any_document_has_its_line(
    top: dict[str, str], tables: list[dict[str, str]], again: list[dict[str, str]]
) -> None:
    parts = [_pairs(top)]
    parts += [f"[[array]]\n{_pairs(table)}" for table in tables]
    parts += [f"[table.{index}] # here\n\n{_pairs(table)}" for index, table in enumerate(again)]
    parts += [f"[[array]]\n{_pairs(table)}" for table in again]
    _assert_every_number_is_its_line(_numbered("\n".join(parts)))


def _pairs(table: dict[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in table.items())
