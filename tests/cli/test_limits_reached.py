"""What limits kept from being counted apart is said by every command that reads events."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from stream.cli import cli

CONFIG = (
    'dimensions = ["channel"]\nmax_segments = {limit}\n[[alert]]\nname = "Low"\n'
    'kpi = "conversion"\nwindow = "1h"\nbelow = 0.5\n'
)
SAID = (
    "max_segments: there were more than 3 combinations of values; further ones count as other in"
    " every dimension"
)


@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(
    "line", [["replay"], ["explain", "conversion"], ["alerts", "backtest"]], ids=" ".join
)
@pytest.mark.parametrize("limit", [3, 5])
def test_a_limit_that_was_reached_is_told(
    tmp_path: Path, line: list[str], more: list[str], limit: int
) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(limit=limit))
    visits = [
        orjson.dumps(
            {
                "event_id": f"{n}",
                "type": "visit.ended",
                "occurred_at": f"2026-03-02T1{n}:00:00Z",
                "visit_id": f"{n}",
                "labels": {"channel": f"c{n}"},
            }
        )
        for n in range(4)
    ]
    (tmp_path / "day.jsonl").write_bytes(b"\n".join(visits))
    files = [str(tmp_path / "day.jsonl"), "--config", str(tmp_path / "c.toml")]
    done = CliRunner().invoke(cli, [*line, *files, *more])
    assert done.exit_code == 0, done.output
    assert (SAID in done.stderr.splitlines()) == (limit == 3)
