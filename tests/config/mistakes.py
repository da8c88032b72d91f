"""What is said about a mistake in the configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config import ConfigError, load

#: A name, what the file says, and what is said about it after "cxkpi.toml:".
Case = tuple[str, str, list[str]]

DURATION = "must be a duration: a whole number and a unit, such as 250ms, 5s, 30m, 24h or 7d"


def problems(content: str | bytes) -> list[str]:
    """All that is wrong with a file of this content in the present folder."""
    data = content.encode() if isinstance(content, str) else content
    Path("cxkpi.toml").write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        load(None, {})
    return [str(problem) for problem in refused.value.problems]


def check_said(content: str, lines: list[str]) -> None:
    """See that each mistake is told in a line, and in which."""
    found = problems(content)
    assert len(found) == len(lines)
    for problem, line in zip(found, lines, strict=True):
        assert "\n" not in problem
        # The KPIs' list and what stands in the file may follow.
        assert problem.startswith(f"cxkpi.toml:{line}")
        assert problem == f"cxkpi.toml:{line}" or line.endswith((", ", "address"))
