"""How commands end from outside: Ctrl-C, a reader that has enough, a locale with few characters."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from click.testing import CliRunner

from stream.cli import cli, main
from stream.core.timestamps import format_ms
from stream.replay.files import read

START = 1_772_445_600_000


@pytest.fixture(autouse=True)
def _recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [
        orjson.dumps(
            {
                "event_id": str(n),
                "type": "visit.ended",
                "occurred_at": format_ms(START + n * 60_000),
                "visit_id": str(n),
                "labels": {"region": "Zürich"},
            }
        )
        for n in range(60)
    ]
    Path("day.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    Path("rule.toml").write_text(
        'dimensions = ["region"]\n[[alert]]\nname = "A"\nkpi = "conversion"\nwindow = "1h"\n'
        "below = 0.5\n"
    )


RULES = ["--config", "rule.toml"]
EXPLAIN = ["explain", "conversion", "day.jsonl", *RULES]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (["replay", "day.jsonl"], "stream.cli.replay.reading"),
        (["send", "day.jsonl"], "stream.cli.send.configuration"),
        (["generate", "--to", "out.jsonl", "--for", "1m"], "stream.cli.generate._write"),
        (["top", "--once"], "stream.cli.top.configuration"),
        (["top", "--once", "--json"], "stream.cli.lazy.import_module"),
    ],
)
def test_ctrl_c_that_cut_work_short_is_130(
    line: list[str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, interrupted)
    done = CliRunner().invoke(cli, line)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "Interrupted\n")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (["worker"], "stream.cli.worker.configuration"),
        (["top"], "stream.cli.top.configuration"),
        (["top", "--json"], "stream.cli.lazy.import_module"),
        (["broker"], "stream.cli.broker.Broker"),
    ],
)
def test_ctrl_c_is_the_usual_end_of_what_runs_until_it_is_stopped(
    line: list[str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, interrupted)
    done = CliRunner().invoke(cli, line)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "Aborted" not in done.stderr


@pytest.mark.parametrize(("more", "code"), [([], 0), (["--for", "1m"], 130)])
@pytest.mark.parametrize("place", ["stream.cli.sending.run", "stream.cli.generate._send"])
def test_ctrl_c_cuts_generating_short_only_where_an_end_was_asked_for(
    more: list[str], code: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(work: Any, *_: Any) -> Any:
        if place.endswith("run"):
            work.close()
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(place, stopped)
    done = CliRunner().invoke(cli, ["generate", *more])
    assert done.exit_code == code
    assert done.stderr.splitlines()[-1].startswith("0 events from ")


def test_a_worker_that_is_stopped_while_it_is_still_being_imported_ends_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "stream.cli.lazy.import_module", lambda _: os.kill(os.getpid(), signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        # Without a handler of its own the signal would end the tests.
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nobody waits for the signal"))
        assert CliRunner().invoke(cli, ["worker"]).exit_code == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "line",
    [
        EXPLAIN,
        ["alerts", "backtest", "day.jsonl", *RULES],
        ["replay", "day.jsonl", "--every", "1m"],
    ],
)
def test_a_reader_that_has_enough_is_no_fault(line: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stream", *line], stdout=writing, stderr=subprocess.PIPE,
            check=False, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on device"),
        (errno.EDQUOT, "disk quota exceeded"),
        (errno.EFBIG, "file too large"),
        (errno.EIO, "input/output error"),
        (errno.EPERM, None),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line_and_other_faults_are_faults(
    number: int,
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(**_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cli, "main", failing)
    # It is that of the tests.
    monkeypatch.setattr("stream.cli.let_go_of_output", lambda: None)
    with pytest.raises(SystemExit if said else OSError) as end:
        main(["schema"])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"Error: can't write: {said}\n" if said else "")
    assert said is None or cast("SystemExit", end.value).code == 2


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
@pytest.mark.parametrize(
    "line", [EXPLAIN, ["alerts", "backtest", "day.jsonl", *RULES], [*EXPLAIN, "--json"]]
)
def test_a_locale_with_few_characters_is_no_fault(
    line: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit) as end:
        main(line)
    sys.stdout.flush()
    assert end.value.code == 0
    if "--json" in line:
        assert "Zürich" in written.getvalue().decode(), "JSON is UTF-8 in every locale"
    else:
        said = written.getvalue().decode(encoding)
        assert ("Zürich" in said) == (encoding != "ascii" and line is EXPLAIN)


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp437", "utf-8"])
@pytest.mark.parametrize(
    "line",
    [
        ["rules", "export", "--config", "umlaut.toml"],
        ["dashboard", "export", *RULES],
        ["replay", "day.jsonl", "--every", "1h", "--format", "csv"],
        ["replay", "day.jsonl", "--every", "1h", "--format", "jsonl"],
    ],
)
def test_what_programs_read_is_utf_8_in_every_locale(
    line: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = Path("rule.toml").read_text().replace('"A"', '"Zürich läuft – 解約"')
    Path("umlaut.toml").write_text(rules, encoding="utf-8")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit) as printed:
        main(line)
    sys.stdout.flush()
    with pytest.raises(SystemExit) as kept:
        main([*line, "--output", "kept"])
    assert (printed.value.code, kept.value.code) == (0, 0)
    assert written.getvalue() == Path("kept").read_bytes()
    assert not written.getvalue().decode().isascii()


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8"])
def test_the_name_of_a_file_that_no_encoding_has_is_no_fault(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("rule.toml").rename("rule-\udcff.toml")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit) as end:
        main(["check", "--config", "rule-\udcff.toml"])
    sys.stdout.flush()
    assert end.value.code == 0
    assert "rule-?.toml" in written.getvalue().decode()


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("ascii", "-0.5 ? 1 ?"), ("iso-8859-1", "-0.5 × 1 ?"), ("utf-8", "−0.5 × 1 …")],
)
def test_a_number_keeps_its_sign_in_a_locale_without_a_minus_sign(
    encoding: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit):
        main(["--version"])
    sys.stdout.write("−0.5 × 1 …")
    sys.stdout.flush()
    assert written.getvalue().decode(encoding).splitlines()[-1] == said


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_generated_files_are_compressed_as_they_are_called(name: str) -> None:
    line = ["generate", "--for", "5m", "--start", "2026-03-02T12:00:00Z", "--to"]
    printed = CliRunner().invoke(cli, [*line, "-"]).stdout_bytes
    assert CliRunner().invoke(cli, [*line, name]).exit_code == 0
    content = Path(name).read_bytes()
    is_packed = name != "a.jsonl"
    assert is_packed == (content != printed)
    assert [v for batch in read([name]) for v in batch.values] == printed.splitlines()
    CliRunner().invoke(cli, [*line, f"again-{name}"])
    assert Path(f"again-{name}").read_bytes() == content, "the same data, the same bytes"


@pytest.mark.parametrize(
    ("incident", "said"),
    [
        ("outage@+5m", "begins after the last event"),
        ("outage@+1m", "begins after the last event"),
        ("outage@-1h/5m", "is over before the first event"),
        ("outage@-5m/5m", "is over before the first event"),
        ("outage@-5m/301s", ""),
        ("outage@+30s", ""),
        ("outage", ""),
    ],
)
def test_an_incident_that_can_never_be_seen_is_a_warning(incident: str, said: str) -> None:
    line = ["generate", "--for", "1m", "--to", "a.jsonl", "--incident", incident]
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0
    assert done.stderr.count("Warning") == bool(said)
    assert said in done.stderr


_ENDING = """
import asyncio, os, signal, sys
import stream.wiring
from stream.cli import main
from stream.core.errors import StopError

class Worker:
    def __init__(self, config):
        self.stopped = asyncio.Event()

    def stop(self):
        self.stopped.set()

    async def run(self, told, ending):
        os.kill(os.getpid(), sent)
        await asyncio.wait_for(self.stopped.wait(), 20)
        if fails:
            raise StopError("it had to stop")

sent, fails = signal.Signals(int(sys.argv[1])), sys.argv[2] == "True"
stream.wiring.Worker = Worker
close = asyncio.SelectorEventLoop.close

def closed(loop):
    os.kill(os.getpid(), sent)
    close(loop)
    os.kill(os.getpid(), sent)

asyncio.SelectorEventLoop.close = closed
sys.argv[1:] = ["worker"]
main()
"""


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_is_told_again_while_it_ends_says_how_it_went(
    number: signal.Signals, fails: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDING, str(int(number)), str(fails)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    expected = (2, "Error: it had to stop\n") if fails else (0, "")
    assert (done.returncode, done.stderr) == expected
