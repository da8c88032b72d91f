from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from stream.cli.schema import schema
from stream.core.schema import event_schemas


def test_all_schemas_are_printed_as_json() -> None:
    result = CliRunner().invoke(schema, ["--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == event_schemas()


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
