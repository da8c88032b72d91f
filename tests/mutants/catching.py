"""Makes a mistake in a copy of the package and asks the fast tests about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutants.glance import SCENARIOS, SHORT
from tests.mutants.mistakes import Mistake, changed

ROOT: Final = Path(__file__).parents[2]
#: What the tests of the core read.
_PARTS: Final = ("stream", "tests", "schemas", "docs", "examples", "grafana", "pyproject.toml")
_REFERENCE = "tests/core/test_against_the_reference.py"
#: The tests, the quickest first; the next are asked where these find nothing.
STAGES: Final[tuple[tuple[str, ...], ...]] = (
    (
        f"{_REFERENCE}::test_the_core_says_what_the_worked_cases_say",
        "tests/core/test_scales.py",
        "tests/core/test_time.py",
        "tests/core/test_timestamps.py",
        "tests/core/test_bounds.py",
        "tests/core/test_active.py",
        "tests/core/test_labels.py",
        "tests/core/test_quantiles.py",
        "tests/core/test_values.py",
        "tests/core/test_deltas.py",
        "tests/core/test_moved_records.py",
        "tests/core/test_in_columns.py",
        "tests/core/test_found_by_the_reference.py",
        "tests/core/test_out_of_reach.py",
    ),
    (
        SHORT,
        SCENARIOS,
        "tests/core/test_segments.py",
        _REFERENCE,
        "tests/core/test_merge.py",
    ),
    ("tests/core",),
)


#: The topic whose streams are asked first about a file, by how its path begins.
_TOPIC_OF: Final = {
    "topics/survey/": "survey",
    "topics/ticket/": "ticket",
    "topics/cart/": "cart",
    "topics/subscription/": "subscription",
    "topics/signal.py": "customer",
    "active.py": "subscription",
    "label_set.py": "subscription",
    "formulas.py": "subscription",
    "signals.py": "customer",
    "health.py": "customer",
    "quantiles.py": "ticket",
}


class Caught(NamedTuple):
    """Which test has caught a mistake, "" if none has, and how long it took (s)."""

    mistake: Mistake
    test: str
    seconds: float


def copied(folder: Path) -> Path:
    """A copy of what the tests of the core need; compiled files are good for it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        else:
            shutil.copy2(source, folder / name)
    return folder


def are_sound(copy: Path, seconds: float) -> str:
    """Which of the first tests fails where no mistake was made, "" if none does."""
    return _glance(copy, "visit", seconds) or _failing(STAGES[0][:1], copy, seconds)


def catch(mistake: Mistake, copy: Path, seconds: float) -> Caught:
    """Ask the tests of a copy about a mistake; too long (``seconds``) a time counts as caught."""
    path = copy / "stream" / "core" / mistake.file
    source = path.read_text()
    path.write_text(changed(mistake, source))
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()
    began = time.monotonic()
    try:
        topic = next((t for start, t in _TOPIC_OF.items() if mistake.file.startswith(start)), "")
        asked = [partial(_glance, copy, topic, seconds)]
        stages = [partial(_failing, stage, copy, seconds) for stage in STAGES]
        for ask in (*asked, *stages):
            test = ask()
            if test:
                return Caught(mistake, test, time.monotonic() - began)
    finally:
        path.write_text(source)
    return Caught(mistake, "", time.monotonic() - began)


def _glance(copy: Path, topic: str, seconds: float) -> str:
    """The first of the short streams that shows a difference, "" if none does."""
    done = _run(["tests.mutants.glance", topic], copy, seconds)
    if done is None:
        return f"more than {seconds:.0f} s"
    if done.returncode:
        raise RuntimeError(f"the streams were not read: {done.stderr[-2000:]}")
    return done.stdout.removeprefix("tests/")


def _failing(tests: Sequence[str], copy: Path, seconds: float) -> str:
    """The first test that fails, "" if none does."""
    options = ("-x", "-q", "-n0", "--no-header", "--tb=no", "--noconftest")
    plugins = ("-p", "no:cacheprovider", "-p", "tests.fixtures.patience")
    done = _run(["pytest", *options, *plugins, *tests], copy, seconds)
    if done is None:
        return f"more than {seconds:.0f} s"
    if done.returncode == 0:
        return ""
    found = re.search(r"^FAILED (.+?)(?: - |$)", done.stdout, re.MULTILINE)
    # What else goes wrong is no catch.
    if found is None:
        raise RuntimeError(f"the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return found.group(1).removeprefix("tests/")


def _run(
    module: Sequence[str], copy: Path, seconds: float
) -> subprocess.CompletedProcess[str] | None:
    """Run a module in a copy; None where it takes too long."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FUZZ_HASTY": "1",
        "FUZZ_EXAMPLES": "100",
    }
    try:
        return subprocess.run(
            [sys.executable, "-m", *module],
            cwd=copy,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
