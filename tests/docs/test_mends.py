"""The list of mends names tests that exist, and each of them is on it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "decisions" / "0007-mends.md").read_text()


def names_in(*names: str) -> set[str]:
    text = "".join((ROOT / "tests" / "kafka" / name).read_text() for name in names)
    return set(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))


def test_each_mend_names_tests_that_exist() -> None:
    files = [path.name for path in (ROOT / "tests" / "kafka").glob("test_*.py")]
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= names_in(*files)


def test_each_test_of_a_mend_is_on_the_list() -> None:
    assert names_in("test_transport_mends.py") <= set(re.findall(r"`(test_\w+)`", PAGE))


def test_each_trap_has_a_mend_and_a_test() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line.startswith("| ") and not line.startswith(("| ---", "| trap"))
    ]
    assert len(rows) > 20
    for trap, _, mend, tests in rows:
        assert trap
        assert mend
        assert "test_" in tests or tests == "the same", trap
