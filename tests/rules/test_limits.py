"""The thresholds of exported rules, as their annotations say them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from stream.cli.rules import rules


@pytest.mark.parametrize(
    ("written", "said"), [("1.5", "above 1.5 s"), ("1.999", "above 1.999 s"), ("3723", "2 min 3 s")]
)
def test_a_threshold_of_a_time_is_said_as_no_other(tmp_path: Path, written: str, said: str) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[[alert]]\nname = "Slow"\nkpi = "art"\nwindow = "1h"\nabove = {written}\n')
    done = CliRunner().invoke(rules, ["export", "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert said in done.stdout
