"""Programs for tests come from the PATH or from Debian's packages."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fixtures.debian import Program, Unavailable, provide
from tests.fixtures.prometheus import PrometheusTools

ABSENT = Program("no-such-package", "usr/bin/no-such-program", ("no-such-program",))


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_on_the_path_is_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = make_program(tmp_path / "bin" / "no-such-program")
    monkeypatch.setenv("PATH", str(installed.parent), prepend=os.pathsep)
    assert provide(ABSENT, tmp_path / "cache") == installed


def test_a_package_that_was_unpacked_is_not_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = make_program(tmp_path / ABSENT.package / ABSENT.file)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert provide(ABSENT, tmp_path) == unpacked


def test_a_machine_without_apt_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(Unavailable, match=r"^no-such-program is not installed, and there is no"):
        provide(ABSENT, tmp_path)


@pytest.mark.parametrize(
    ("failing", "says"),
    [
        ("echo 'W: a warning' >&2; echo 'E: no route to the mirror' >&2; exit 100", "E: no route"),
        ("exit 7", "7"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, says: str
) -> None:
    for tool in ("apt-get", "dpkg-deb"):
        make_program(tmp_path / "bin" / tool).write_text(f"#!/bin/sh\n{failing}\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Unavailable, match=f"^apt-get failed: {says}"):
        provide(ABSENT, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_who_needs_a_program_at_the_same_time_waits_for_one_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    scripts = {
        "apt-get": f'for last; do :; done; echo "$last" >> {asked}; : > a.deb; /bin/sleep 0.2',
        "dpkg-deb": f'/bin/mkdir -p "$3/usr/bin"; : > "$3/{ABSENT.file}"',
    }
    for tool, script in scripts.items():
        make_program(tmp_path / "bin" / tool).write_text(f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: provide(ABSENT, cache), range(3)))
    assert found == {cache / ABSENT.package / ABSENT.file}
    assert asked.read_text().split() == ["update", ABSENT.package]


def test_the_tools_of_prometheus_are_to_be_had(prometheus_tools: PrometheusTools) -> None:
    for tool in prometheus_tools:
        assert os.access(tool, os.X_OK), tool
