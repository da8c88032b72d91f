"""``cxkpi dashboard export``: the dashboard for dimensions of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream.cli import cli
from tests.dashboards.lint import lint

ROOT = Path(__file__).parents[2]
TIERS = 'dimensions = ["channel", "region", "tier"]\n'


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def export(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["dashboard", "export", *arguments])


def test_with_the_default_dimensions_it_is_that_of_the_repository() -> None:
    done = export()
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (ROOT / "grafana/dashboards/overview.json").read_text(encoding="utf-8")


def test_each_total_leaves_out_the_series_of_every_dimension_of_the_configuration() -> None:
    Path("cxkpi.toml").write_text(TIERS)
    assert export("--output", "overview.json").exit_code == 0
    document = json.loads(Path("overview.json").read_text(encoding="utf-8"))
    assert lint(document) == []
    chosen = 'channel=~"$channel", region=~"$region", tier=~"$tier"'
    assert f'cx_nps{{window="$window", {chosen}}}' in json.dumps(document).replace('\\"', '"')


def test_a_file_that_cannot_be_written_is_one_line() -> None:
    done = export("--output", "nowhere/overview.json")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: nowhere/overview.json: no such file or directory\n",
    )


def test_without_the_library_it_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("stream.dashboards")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk.builders", None)
    done = export()
    assert done.exit_code == 2
    assert "grafana-foundation-sdk, which `make setup` installs" in done.stderr
