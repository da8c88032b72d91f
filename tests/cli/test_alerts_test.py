"""``cxkpi alerts test``: a marked alert goes to the sinks, and what they said is printed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from stream.broker.ports import free_port
from stream.cli import alerts_test, cli
from stream.cli.alerts import COMMANDS
from stream.cli.alerts_test import _Hold, _sent
from stream.config import SinkConfig
from stream.core.alerts import Change
from stream.core.settings import Rule
from stream.core.timestamps import parse
from stream.sinks import catalogue
from stream.sinks.sink import Rejected
from tests.sinks.receiver import receiver

RULE = '[[alert]]\nname = "CsatLow"\nkpi = "csat"\nwindow = "1h"\nby = ["region"]\nbelow = 0.7\n'


def run(folder: Path, line: str, sinks: str, environ: dict[str, str] | None = None) -> Result:
    file = folder / "c.toml"
    file.write_text(RULE + sinks)
    return CliRunner().invoke(
        cli, ["alerts", "test", *line.split(), "--config", str(file)], env=environ
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_subcommand_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, ["alerts", command, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert " --json" in result.stdout


def test_a_test_alert_fires_and_is_resolved(tmp_path: Path) -> None:
    result = run(tmp_path, "CsatLow --json", '[[sink]]\ntype = "log"\n')
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert [(s["sink"], s["to"], s["error"]) for s in said] == [
        ("log", "firing", None),
        ("log", "resolved", None),
    ]
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["alert"]["id"] for line in lines] == [s["id"] for s in said]
    assert lines[0]["alert"]["labels"] == {"region": "test", "test": "true"}
    assert lines[0]["event"].endswith("This is a test of the rule CsatLow; nothing is wrong.")


@pytest.mark.parametrize(
    ("line", "sinks", "said"),
    [
        ("Other", '[[sink]]\ntype = "log"\n', 'there is no rule "Other"; there are: CsatLow'),
        ("", "", "name the rule to test; there are: CsatLow"),
        ("CsatLow", "", "the configuration has no [[sink]]"),
        (
            "CsatLow --sink ops",
            '[[sink]]\ntype = "log"\n',
            'there is no sink "ops"; there are: log',
        ),
    ],
)
def test_what_is_not_there_is_said_in_a_line(
    tmp_path: Path, line: str, sinks: str, said: str
) -> None:
    result = run(tmp_path, line, sinks)
    assert (result.exit_code, result.stderr) == (2, f"Error: {said}\n")


def test_without_rules_there_is_nothing_to_test(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[[sink]]\ntype = "log"\n')
    arguments = ["alerts", "test", "--config", str(tmp_path / "c.toml")]
    result = CliRunner().invoke(cli, arguments)
    said = "Error: the configuration has no [[alert]]\n"
    assert (result.exit_code, result.stderr) == (2, said)


def hook(port: int, path: str = "hook") -> str:
    return f'[[sink]]\ntype = "webhook"\nname = "{path}"\nurl = "http://127.0.0.1:{port}/{path}"\n'


def test_a_sink_that_does_not_take_it_is_a_finding(tmp_path: Path) -> None:
    sinks = '[[sink]]\ntype = "log"\n' + hook(free_port())
    result = run(tmp_path, "CsatLow", sinks)
    assert result.exit_code == 1
    failed = "no answer (connection refused)"
    assert result.stdout.splitlines() == [
        "log: firing: sent",
        "log: resolved: sent",
        f"hook: firing: {failed}",
        f"hook: resolved: {failed}",
    ]
    assert run(tmp_path, "CsatLow --sink log", sinks).exit_code == 0


def test_no_secret_is_printed_whatever_a_sink_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    secret, port = "c4nary", free_port()
    address = f"{{}}://{secret}:{secret}@127.0.0.1:{port}/{secret}?q={secret}"
    environ = {"HTTP": address.format("http"), "JSON": address.format("json"), "KEY": secret}
    sinks = "".join(
        f'[[sink]]\ntype = "{kind}"\nurl_env = "{variable}"\n{more}'
        for kind, variable, more in [
            ("webhook", "HTTP", 'secret_env = "KEY"\n'),
            ("slack", "HTTP", ""),
            ("apprise", "JSON", ""),
        ]
    )
    # Alertmanager's root has no query.
    environ["ROOT"] = f"http://{secret}:{secret}@127.0.0.1:{port}/{secret}"
    sinks += '[[sink]]\ntype = "alertmanager"\nurl_env = "ROOT"\n'
    for more in ("", " --json"):
        result = run(tmp_path, "CsatLow" + more, sinks, environ)
        assert result.exit_code == 1
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert result.output.count("sent") == 0
        assert secret not in result.output + caplog.text


@pytest.mark.parametrize(("hold", "ms"), [("--hold 50ms", 50), ("--hold 0s", 1), ("", 1)])
def test_what_is_held_fires_for_so_long_and_never_ends_when_it_begins(
    tmp_path: Path, hold: str, ms: int
) -> None:
    result = run(tmp_path, f"CsatLow {hold} --json", '[[sink]]\ntype = "log"\n')
    fired, resolved = (json.loads(line)["alert"] for line in result.stderr.splitlines())
    assert parse(resolved["changed_at"]) - parse(fired["changed_at"]) == ms
    assert resolved["started_at"] == fired["started_at"]


@pytest.mark.parametrize(
    ("held", "passed", "ms"),
    [(3_600_000, 20_000, 20_000), (50, 80, 50), (50, 50, 50), (50, 0, 1), (50, -5, 1), (1, 80, 1)],
)
def test_a_signal_shortens_a_hold_and_never_lengthens_it(
    held: int, passed: int, ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = _Hold(held, began=1_000_000)
    monkeypatch.setattr(alerts_test, "now_ms", lambda: 1_000_000 + passed)
    hold.end()
    assert (hold.ms, hold.ended.is_set()) == (ms, True)


@dataclass
class Forgetful:
    """A sink that has to be told again and again, and takes what it was not told to refuse."""

    refused: tuple[str, ...]
    refresh_ms: int = 1
    seen: list[str] = field(default_factory=list)

    async def deliver(self, change: Change) -> None:
        self.seen.append(change.to)
        if change.to in self.refused:
            raise Rejected("not me")

    async def keep(self, firing: Iterable[Change]) -> bool:
        self.seen += [f"kept {change.to}" for change in firing]
        return True

    async def close(self) -> None:
        self.seen.append("closed")


@pytest.mark.parametrize(
    ("refused", "seen"),
    [
        ((), ["firing", "kept firing", "resolved", "closed"]),
        (("resolved",), ["firing", "kept firing", "resolved", "closed"]),
        (("firing",), ["firing", "resolved", "closed"]),
        (("firing", "resolved"), ["firing", "resolved", "closed"]),
    ],
)
async def test_only_what_a_sink_has_taken_is_kept_and_every_sink_is_closed(
    refused: tuple[str, ...], seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Forgetful(refused)
    monkeypatch.setattr(catalogue, "build", lambda _: sink)
    rule = Rule("CsatLow", "csat", "1h", below=0.7)
    said = await _sent([SinkConfig(type="log", name="it")], rule, _Hold(3))
    assert list(dict.fromkeys(sink.seen)) == seen
    assert [one["to"] for one in said if one["error"]] == [*refused]


async def test_what_is_held_is_told_again_to_a_sink_that_forgets() -> None:
    rule = Rule("CsatLow", "csat", "1h", below=0.7)
    async with receiver() as it:
        sink = SinkConfig(type="alertmanager", url=it.url, name="am", refresh="1s")
        sink.hold("url", sink.url)
        said = await _sent([sink], rule, _Hold(1_500))
    assert [one["error"] for one in said] == [None, None]
    fired, again, resolved = (json.loads(body)[0] for body in it.bodies)
    assert again["labels"] == fired["labels"]
    assert parse(again["endsAt"]) > parse(fired["endsAt"])
    assert resolved["annotations"]["change_id"] == said[1]["id"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_hold_and_what_fires_is_resolved(
    tmp_path: Path, number: signal.Signals
) -> None:
    came = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        came.set()
        return web.Response()

    async with receiver([answer]) as it:
        sinks = f'[[sink]]\ntype = "webhook"\nname = "hook"\nurl = "{it.url}"\n'
        (tmp_path / "c.toml").write_text(RULE + sinks)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "stream", "alerts", "test", "CsatLow", "--hold", "1h",
            "--config", str(tmp_path / "c.toml"), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        try:
            await asyncio.wait_for(came.wait(), 60)
            process.send_signal(number)
            out, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
    assert (process.returncode, out) == (130, b"hook: firing: sent\nhook: resolved: sent\n")
    fired, resolved = map(json.loads, it.bodies)
    assert (fired["to"], resolved["to"]) == ("firing", "resolved")
    assert 0 < parse(resolved["changed_at"]) - parse(fired["changed_at"]) < 1_800_000


@pytest.mark.parametrize("hold", ["367d", "999999999999d"])
def test_a_hold_that_has_no_end_is_refused_in_a_line(tmp_path: Path, hold: str) -> None:
    result = run(tmp_path, f"CsatLow --hold {hold}", '[[sink]]\ntype = "log"\n')
    assert result.exit_code == 2
    said = f"Error: Invalid value for '--hold': '{hold}' is not in the range 0s to 366d"
    assert result.stderr.splitlines()[-1] == said


def test_the_summary_is_filled_in_and_a_missing_topic_is_named(tmp_path: Path) -> None:
    rules = (
        '[[alert]]\nname = "NoVisits"\ntopic = "cx.visit"\nabsent_for = "10m"\n'
        'summary = "{topic} is silent"\n[[sink]]\ntype = "log"\n'
    )
    result = run(tmp_path, "NoVisits", rules)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stderr.splitlines()[0])["alert"]
    assert told["summary"] == "[TEST] cx.visit is silent"
    assert told["labels"] == {"topic": "cx.visit", "test": "true"}
