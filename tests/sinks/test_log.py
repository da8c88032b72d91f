"""One line per change on standard error."""

from __future__ import annotations

import io
import json
from typing import get_type_hints

import msgspec
import pytest

from stream.core.alerts import Change, Target
from stream.sinks.log import Log
from tests.sinks.receiver import FakeSettings, change


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def line(one: Change, stream: io.StringIO) -> str:
    await Log(FakeSettings("log"), stream).deliver(one)
    written = stream.getvalue()
    assert written.endswith("\n")
    return written.removesuffix("\n")


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
async def test_a_terminal_has_colours_unless_it_or_its_user_takes_none(
    environ: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    said = await line(change(), Terminal())
    assert ("\x1b[" in said, "CsatLow firing: It is worse." in said) == (coloured, True)


async def test_a_line_is_json_with_the_whole_change() -> None:
    read = json.loads(await line(change(), io.StringIO()))
    assert read["event"] == "CsatLow firing: It is worse."
    assert read["sink"] == "my-log"
    assert read["timestamp"].endswith("Z")
    assert msgspec.convert(read["alert"], Change) == change()


@pytest.mark.parametrize(
    ("severity", "to", "level"),
    [
        ("critical", "firing", "error"),
        ("warning", "firing", "warning"),
        ("page", "firing", "warning"),
        ("info", "firing", "info"),
        ("critical", "resolved", "info"),
    ],
)
async def test_the_level_follows_the_severity(severity: str, to: Target, level: str) -> None:
    one = msgspec.structs.replace(change(to), severity=severity)
    assert json.loads(await line(one, io.StringIO()))["level"] == level


async def test_a_terminal_gets_the_sentence() -> None:
    text = await line(change(), Terminal())
    assert "CsatLow firing: It is worse." in text
    assert "critical" in text


TEXTS = [name for name, kind in get_type_hints(Change).items() if kind is str and name != "key"]


@pytest.mark.parametrize("stream", [io.StringIO, Terminal], ids=["json", "terminal"])
@pytest.mark.parametrize("name", [*TEXTS, "labels"])
async def test_no_text_of_a_change_leaves_the_line_or_steers_the_terminal(
    stream: type[io.StringIO], name: str
) -> None:
    said = "e\nu\r\x1b[2J\x1b]0;owned\x07"
    one = msgspec.structs.replace(change(), **{name: {said: said} if name == "labels" else said})
    text = await line(one, stream())
    assert "\n" not in text
    assert not {"\r", "\x07"} & {*text}
    assert "\x1b[2J" not in text
    assert "\x1b]" not in text
