"""docs/replay.md shows what the commands print and names what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from stream.cli import cli
from stream.cli.explain import explain
from stream.cli.replay import replay
from stream.core.settings import Settings
from stream.replay import rows, timeline

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "replay.md").read_text()
SHOWN = re.findall(r"^```console\n\$ cxkpi (.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("line", "printed"), SHOWN, ids=[line[:40] for line, _ in SHOWN])
def test_what_is_shown_is_what_is_printed(
    line: str, printed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, line.split())
    said = "\n".join(text.rstrip() for text in done.stdout.splitlines())
    assert (done.exit_code, printed.strip()) == (0, said.strip())


def test_there_is_something_shown() -> None:
    assert SHOWN


def test_columns_that_the_page_names_exist() -> None:
    known = rows.columns(Settings().dimensions)
    assert set(re.findall(r"\blabel_[a-z]+\b", PAGE)) <= set(known)
    assert set(known) <= set(re.findall(r"\w+", PAGE))
    for suffix in ("jsonl", "csv", "parquet"):
        assert f".{suffix}" in rows.SUFFIXES


def test_options_that_the_page_names_exist() -> None:
    of_others = {"--long", "--storage", "--query"}
    known = {option for c in (replay, explain) for p in c.params for option in p.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z]+\b", PAGE)) - of_others <= known


def test_the_bound_of_a_time_line_is_the_one_that_the_page_names() -> None:
    assert f"at most {timeline.MOST_POINTS:,} points" in PAGE


def test_the_library_that_the_page_names_is_the_one_of_the_declared_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (library,) = project["optional-dependencies"]["parquet"]
    assert f"`pip install '{library.replace(' ', '')}'`" in PAGE
    assert library.replace(" ", "") == f"pyarrow{rows.PYARROW}"
    assert "\npyarrow==" in (ROOT / "requirements-dev.lock").read_text()
