"""Files that appear when they are complete: what is there before, meanwhile and after failures."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stream.cli import cli
from stream.cli.failure import CommandFailed
from stream.cli.written import replacing

ROOT = Path(__file__).parents[2]
EVENTS = "".join(
    json.dumps(
        {
            "event_id": f"e{hour}", "type": "visit.ended", "visit_id": f"v{hour}",
            "occurred_at": f"2026-03-02T{hour:02}:00:00Z",
        }
    )
    + "\n"
    for hour in range(5)
)  # fmt: skip
RULE = '[[alert]]\nname = "Low"\nkpi = "nps"\nwindow = "1h"\nbelow = 0\nby = []\n'
#: Commands that write a file as a whole, and its name.
COMMANDS = {
    "replay day.jsonl --every 1m --format parquet --output out": "out",
    "replay day.jsonl --every 1m --openmetrics out": "out",
    "alerts backtest day.jsonl --html out": "out",
    "rules export --output out": "out",
    "dashboard export --output out": "out",
    "schema config --write .": "config.json",
}
each_command = pytest.mark.parametrize(("command", "name"), COMMANDS.items(), ids=COMMANDS)


@pytest.fixture(autouse=True)
def _in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("day.jsonl").write_text(EVENTS)
    Path("cxkpi.toml").write_text(RULE)


def listed() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"day.jsonl", "cxkpi.toml"}


def run(command: str, *, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command in a process, whose files can't grow beyond ``limit`` bytes."""
    limited = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))" if limit else ""
    code = f"import resource\nfrom stream.cli import main\n{limited}\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, errors="replace", check=False, timeout=60,
    )  # fmt: skip


@each_command
@pytest.mark.parametrize("there", [True, False])
def test_a_disk_that_is_full_leaves_what_was_there_and_nothing_else(
    command: str, name: str, there: bool
) -> None:
    if there:
        Path(name).write_text("of yesterday")
    done = run(command, limit=50)
    assert done.returncode == 2
    # Points of a backfill are first kept in the temporary folder, which is full too.
    if "--openmetrics" not in command:
        assert done.stderr.splitlines()[-1] == f"Error: {name}: file too large"
    assert listed() == ({name} if there else set())
    assert not there or Path(name).read_text() == "of yesterday"


@each_command
def test_a_file_that_is_there_is_replaced_and_keeps_its_rights_and_the_links_to_it(
    command: str, name: str
) -> None:
    Path("folder").mkdir()
    kept = Path("folder/kept")
    kept.write_text("of yesterday")
    kept.chmod(0o640)
    Path(name).symlink_to("folder/kept")
    done = CliRunner().invoke(cli, command.split())
    assert done.exit_code == 0, done.output
    assert Path(name).is_symlink()
    assert b"of yesterday" not in kept.read_bytes()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert [path.name for path in Path("folder").iterdir()] == ["kept"]
    assert listed() == {name, "folder"}


@each_command
def test_a_new_file_has_the_rights_of_any_new_file(command: str, name: str) -> None:
    Path("other").touch()
    assert CliRunner().invoke(cli, command.split()).exit_code == 0
    assert Path(name).stat().st_mode == Path("other").stat().st_mode


@pytest.mark.parametrize(
    ("command", "read"),
    [
        ("replay {} --openmetrics in.om", "in.om.part"),
        ("replay {} --every 1h --output day.parquet", "day.parquet.part"),
    ],
)
def test_a_file_that_is_read_stays_whatever_its_name(command: str, read: str) -> None:
    Path(read).write_text(EVENTS)
    assert CliRunner().invoke(cli, command.format(read).split()).exit_code == 0
    assert Path(read).read_text() == EVENTS
    assert listed() == {read, command.split()[-1]}


@each_command
@pytest.mark.parametrize("device", ["/dev/stdout", "/dev/null"])
def test_a_device_is_written_and_stays(command: str, name: str, device: str) -> None:
    before = Path(device).stat().st_mode
    Path(name).symlink_to(device)
    done = run(command)
    assert done.returncode == 0, done.stderr
    assert Path(device).stat().st_mode == before
    assert Path(name).is_symlink()
    assert listed() == {name}


@pytest.mark.parametrize(("device", "other"), [("stdout", "stderr"), ("stderr", "stdout")])
def test_what_is_printed_into_a_file_can_be_written_by_its_device(device: str, other: str) -> None:
    line = [sys.executable, "-m", "stream", "dashboard", "export", "--output", f"/dev/{device}"]
    streams: dict[str, Any]
    with Path("printed").open("w") as printed:
        streams = {device: printed, other: subprocess.PIPE}
        done = subprocess.run(
            line, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, timeout=60, **streams
        )
        assert done.returncode == 0
        assert os.path.samestat(os.fstat(printed.fileno()), Path("printed").stat())
    assert json.loads(Path("printed").read_bytes())["title"]
    assert listed() == {"printed"}


def _write_half(path: Path, end: type[BaseException]) -> None:
    with replacing(path) as file:
        file.write(b"half of it")
        file.flush()
        raise end


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_ends_the_writing_nothing_is_left(end: type[BaseException]) -> None:
    Path("kept").write_text("of yesterday")
    for name in ("kept", "new"):
        with pytest.raises(end):
            _write_half(Path(name), end)
    assert listed() == {"kept"}
    assert Path("kept").read_text() == "of yesterday"


def test_a_folder_that_takes_no_new_file_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kept").write_text("of yesterday")

    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    for name, more in (("kept", f" in {Path.cwd()}, where its successor is written"), ("new", "")):
        with pytest.raises(CommandFailed) as failed, replacing(Path(name)):
            pass
        assert failed.value.message == f"{name}: permission denied{more}"
    monkeypatch.undo()


def test_a_file_that_may_not_be_written_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kept").write_text("of yesterday")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CommandFailed, match=r"^kept: permission denied$"), replacing(Path("kept")):
        pass
    assert Path("kept").read_text() == "of yesterday"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_what_was_there_and_nothing_else(number: signal.Signals) -> None:
    Path("out").write_text("before")
    code = (
        "import time\nfrom pathlib import Path\nfrom stream.cli.written import replacing\n"
        "with replacing(Path('out')) as file:\n"
        "    file.write(b'half')\n    print('begun', flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
    assert listed() == {"out"}
    assert Path("out").read_text() == "before"


def test_under_nohup_the_end_of_the_terminal_ends_no_writing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with replacing(Path("out")) as file:
            os.kill(os.getpid(), signal.SIGHUP)
            file.write(b"all of it")
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    except KeyboardInterrupt:
        pytest.fail("it was ended")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert Path("out").read_text() == "all of it"


def test_a_file_that_can_be_written_but_not_replaced_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that is mounted by itself into a container."""

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    Path("out").write_text("all that was there before")
    monkeypatch.setattr(Path, "replace", busy)
    with replacing(Path("out")) as file:
        file.write(b"after")
    assert Path("out").read_text() == "after"
    assert listed() == {"out"}
