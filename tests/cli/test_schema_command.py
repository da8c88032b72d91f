from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from stream.cli.schema import schema
from stream.config.schema import config_schema
from stream.core.schema import event_schemas

COMMITTED = Path(__file__).parents[2] / "schemas"


def test_all_schemas_are_printed_as_json() -> None:
    result = CliRunner().invoke(schema, ["--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {**event_schemas(), "config": config_schema()}


def test_all_are_written_as_they_are_committed(tmp_path: Path) -> None:
    assert CliRunner().invoke(schema, ["--write", str(tmp_path)]).exit_code == 0
    written, committed = (
        {file.name: file.read_text("utf-8") for file in folder.glob("*.json")}
        for folder in (tmp_path, COMMITTED)
    )
    assert written == committed, "run: cxkpi schema --write schemas"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(schema, ["--write", str(tmp_path / "file" / "in")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "not a directory" in result.stderr


def test_one_schema_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "schemas"
    result = CliRunner().invoke(schema, ["visit.ended", "--write", str(folder)])
    assert result.exit_code == 0
    assert [file.name for file in folder.iterdir()] == ["visit.ended.json"]
    written = json.loads((folder / "visit.ended.json").read_text("utf-8"))
    assert written == event_schemas()["visit.ended"]


def test_an_unknown_event_type_is_refused_with_those_that_there_are() -> None:
    result = CliRunner().invoke(schema, ["visit.begun"])
    assert result.exit_code == 2
    assert "visit.begun" in result.stderr
    assert "visit.ended" in result.stderr
