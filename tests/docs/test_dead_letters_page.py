"""What docs/dead-letters.md says of mending a record works, however the record is written."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from stream.replay.files import read
from stream.replay.recorded import address

PAGE = Path(__file__).parents[2] / "docs" / "dead-letters.md"
RECORD = {
    "event_id": "e",
    "type": "visit.ended",
    "visit_id": "v",
    "occurred_at": "2026-03-02T10:00:00Z",
    "pages": "three",
    "note": "Zürich\n\r läuft",
}


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_mended_record_is_one_line_that_can_be_sent(
    indent: int | None, end: str, tmp_path: Path
) -> None:
    line = r"(?m)^\$ cxkpi dlq show --raw \S+ \| (.+) \| cxkpi send -$"
    (mending,) = re.findall(line, PAGE.read_text("utf-8"))
    raw = json.dumps(RECORD, indent=indent, ensure_ascii=False) + "\n"
    done = subprocess.run(
        ["sh", "-c", mending],
        input=raw.replace("\n", end).encode(),
        stdout=subprocess.PIPE, check=True, timeout=60,
    )  # fmt: skip
    mended = tmp_path / "mended.jsonl"
    mended.write_bytes(done.stdout)
    (value,) = [value for batch in read([str(mended)]) for value in batch.values]
    assert json.loads(value) == {**RECORD, "pages": 3}
    assert address(value, 0).topic == "cx.visit"
