"""The package that is built holds everything that an installation needs."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import stream
from tests.packaging.project import ROOT

#: What the container image is built from, too.
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "stream")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    build = "from flit_core.buildapi import build_wheel; print(build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, text=True
    )
    with zipfile.ZipFile(folder / done.stdout.strip()) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "stream"
    files = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"stream/py.typed", "stream/broker/kafka.lock.toml"} <= files
    assert files <= set(wheel.namelist())


def test_the_wheel_has_the_command_the_transport_and_the_licence(wheel: zipfile.ZipFile) -> None:
    about = f"cxkpi-{stream.__version__}.dist-info"
    entry_points = wheel.read(f"{about}/entry_points.txt").decode()
    assert "cxkpi=stream.cli:main" in entry_points
    assert "[faust.transports]\nbatchkafka=stream.kafka.transport" in entry_points
    metadata = wheel.read(f"{about}/METADATA").decode()
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert wheel.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_holds_nothing_but_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {Path(name).parts[0] for name in wheel.namelist()}
    assert tops == {"stream", f"cxkpi-{stream.__version__}.dist-info"}
