"""make sets up, demonstrates, checks and tests from a bare clone."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.project import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what ``make setup`` reads, and nothing installed."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


#: One more than there are cores.
PROCESSES = os.sysconf("SC_NPROCESSORS_ONLN") + 2


def make(
    clone: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=clone,
        env=environment or surroundings(),
        check=False,
        capture_output=True,
        text=True,
    )


def surroundings() -> dict[str, str]:
    """The environment, less what a make around the tests would tell the one within them."""
    told = ("MAKE", "MFLAGS", "ARGS", "JOBS")
    return {k: v for k, v in os.environ.items() if not k.startswith(told)}


def installed(clone: Path) -> None:
    """Make it look as if everything was installed just now."""
    (clone / ".venv").mkdir()
    (clone / ".venv" / ".installed").touch()


def test_a_python_that_is_too_old_is_told_in_one_line(clone: Path) -> None:
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(clone, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert told == ["cxkpi needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11"]
    assert not (clone / ".venv").exists()


def machine(folder: Path, system: str, processor: str) -> dict[str, str]:
    """An environment whose ``uname`` tells of another machine."""
    told = folder / "machine" / "uname"
    told.parent.mkdir()
    told.write_text(f'#!/bin/sh\ncase "$1" in -s) echo {system} ;; -m) echo {processor} ;; esac\n')
    told.chmod(0o755)
    around = surroundings()
    return around | {"PATH": f"{told.parent}:{around['PATH']}"}


#: Elsewhere each package has a wheel, so nothing is to run code of its own to be installed.
each_machine = pytest.mark.parametrize(
    ("system", "processor", "from_sources"),
    [
        ("Linux", "x86_64", False),
        ("Linux", "aarch64", True),
        ("Darwin", "arm64", False),
        ("Darwin", "x86_64", False),
    ],
)


@each_machine
def test_only_faust_and_only_on_linux_on_arm_is_made_from_sources(
    clone: Path, system: str, processor: str, *, from_sources: bool
) -> None:
    done = make(clone, "-n", "setup", environment=machine(clone, system, processor))
    [command] = [line for line in done.stdout.splitlines() if "--require-hashes" in line]
    assert "--only-binary :all:" in command
    assert ("--no-binary faust-streaming" in command) is from_sources


@each_machine
def test_so_it_is_in_the_image(
    clone: Path, system: str, processor: str, *, from_sources: bool
) -> None:
    [expression] = re.findall(r"sources=\$\(.*\)", (ROOT / "Dockerfile").read_text())
    done = subprocess.run(
        ["sh", "-ec", f'{expression} && echo "$sources"'],
        env=machine(clone, system, processor),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == ("--no-binary faust-streaming" if from_sources else "")


def test_setup_does_nothing_when_nothing_changed(clone: Path) -> None:
    installed(clone)
    done = make(clone, "setup", "PYTHON=false")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Installing" not in done.stdout


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements-dev.lock"])
def test_setup_installs_again_when_this_changed(clone: Path, changed: str) -> None:
    installed(clone)
    stamp = (clone / ".venv" / ".installed").stat().st_mtime
    os.utime(clone / changed, (stamp + 10, stamp + 10))
    assert "Installing" in make(clone, "--dry-run", "setup").stdout


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["demo"], "cxkpi demo"),
        (["demo", "FOR=90s"], "cxkpi demo --for 90s"),
        (["test"], f"-m pytest --dist worksteal --maxprocesses 4 --numprocesses {PROCESSES}"),
        (["test", "ARGS=-k nps"], f"--numprocesses {PROCESSES} -k nps"),
        (["test", "JOBS=0", "ARGS=--pdb"], "--numprocesses 0 --pdb"),
    ],
)
def test_a_target_runs_its_command_after_setup(
    clone: Path, arguments: list[str], command: str
) -> None:
    installed(clone)
    done = make(clone, "--dry-run", *arguments)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].strip().endswith(command)


def test_test_checks_lint_types_and_imports_first(clone: Path) -> None:
    installed(clone)
    commands = make(clone, "--dry-run", "test").stdout.splitlines()
    assert [Path(line.split()[0]).name for line in commands] == [
        "ruff",
        "ruff",
        "mypy",
        "lint-imports",
        "python",
    ]


def test_continuous_integration_runs_make_test(clone: Path) -> None:
    (clone / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", clone / ".ci" / "run")
    (clone / "Makefile").write_text("test:\n\t@echo tested; cat\n")
    done = subprocess.run(
        ["bash", ".ci/run"],
        cwd=clone,
        env=surroundings(),
        check=True,
        capture_output=True,
        text=True,
        input="typed",
    )
    assert done.stdout == "tested\n"
