"""What lies just within a bound, or only looks like a mistake, is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.cli.configured import unusable
from stream.config import load

CHURN = '[[alert]]\nname = "A"\nkpi = "churn"\nwindow = "1h"\n'
APPRISE = '[[sink]]\ntype = "apprise"\n'

#: A name, and what the file says.
CASES: list[tuple[str, str]] = [
    ("as many panes as there may be", '[[window]]\nsize = "1h"\npane = "15s"\n'),
    ("a clear that is the threshold above", CHURN + "above = 0.05\nclear = 0.05\n"),
    ("a clear that is the threshold below", CHURN + "below = 0.05\nclear = 0.05\n"),
    ("a dashboard with @ in its path", '[dashboard]\nurl = "https://grafana/@team"\n'),
    (
        "a webhook with @ in its path",
        '[[sink]]\ntype = "webhook"\nurl = "https://h/@team?to=a@b"\n',
    ),
    ("apprise's scheme in capitals", APPRISE + 'url = "JSON://host/path"\n'),
    ("apprise with @ in its path", APPRISE + 'url = "json://host/@team"\n'),
    ("an editor's mark at the start", "\ufeff" + CHURN + "above = 0.05\n"),
]


@pytest.mark.parametrize("content", [c[1] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_within_its_bounds_or_only_looks_wrong_is_taken(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "cxkpi.toml"
    path.write_text(content)
    load(path, {}, vet=unusable)
