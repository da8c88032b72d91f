"""``cxkpi dlq list`` and ``show`` on a real broker."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from stream.broker import Broker
from stream.cli import cli
from stream.core.shard import Refusal
from stream.core.timestamps import format_ms, parse
from tests.deadletters.burying import Buried, arguments, bury, dlq, process, redriven
from tests.deadletters.letters import visit
from tests.kafka.batches import batch_of
from tests.kafka.conftest import Site, Sites
from tests.kafka.topics import append

PAGES = Refusal(0, "invalid", "pages", "expected a number or null, got a text")
LABEL = Refusal(0, "invalid", "labels.channel", "must have 1 to 64 characters")
ORPHAN = Refusal(0, "orphan", "type", "what this event refers to is not remembered")
HOSTILE = b"\x1b[2J\x1b]0;owned\x07\xe2\x80\xaedcba\xff\r\n\x9b31m"


def five_letters(site: Site) -> None:
    """Five letters of three reasons in two topics."""
    bury(site, [(0, b"a", visit(1, pages="x")), (3, b"b", visit(2, pages="y"))], refusal=PAGES)
    bury(site, [(3, b"b", visit(3, labels={"channel": "z" * 70}))], refusal=LABEL)
    answer = orjson.dumps({"event_id": "e", "type": "survey.updated"})
    bury(site, [(1, b"r", answer), (1, None, None)], topic="cx.survey", refusal=ORPHAN)


@pytest.fixture(scope="module")
def buried(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Five letters to look at; nobody sends them again."""
    with ExitStack() as stack:
        site = Sites(tmp_path_factory.mktemp("buried"), stack)(broker.bootstrap)
        five_letters(site)
        yield site


def listed(site: Site, *more: object) -> list[str]:
    """The letters that a list names, in its order."""
    result = dlq(site, "list", "--json", *more)
    assert result.exit_code == 0, result.output
    return ["{topic}/{partition}/{offset}".format(**row) for row in json.loads(result.stdout)]


ALL = ["cx.visit/0/0", "cx.visit/3/0", "cx.visit/3/2", "cx.survey/1/0", "cx.survey/1/1"]


def test_a_list_has_a_line_for_each_letter_the_newest_last(buried: Site) -> None:
    assert listed(buried) == ALL
    lines = dlq(buried, "list").stdout.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ALL
    assert lines[0].split() == [
        "refused",
        "dead",
        "letter",
        *["source", "outcome", "field", "reason", "key"],
    ]
    assert lines[1].endswith("expected a number or null, got a text        a")
    assert dlq(buried, "list").stderr == "5 dead letters\n"


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (["--topic", "cx.visit"], [0, 1, 2]),
        (["--topic", "cx.survey.dlq"], [3, 4]),
        (["--topic", "cx.survey", "--topic", "cx.visit"], [0, 1, 2, 3, 4]),
        (["--outcome", "orphan"], [3, 4]),
        (["--outcome", "orphan", "--outcome", "invalid"], [0, 1, 2, 3, 4]),
        (["--reason", "labels"], [2]),
        (["--reason", "GOT A TEXT"], [0, 1]),
        (["--limit", "2"], [3, 4]),
        (["--since", "1h"], [0, 1, 2, 3, 4]),
        (["--since", "999999999999999d"], [0, 1, 2, 3, 4]),
        (["--until", "1h"], []),
        (["--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z"], []),
        (["--pending"], [0, 1, 2, 3, 4]),
    ],
)
def test_each_option_lists_the_letters_that_fit_it(
    buried: Site, options: list[str], places: list[int]
) -> None:
    assert listed(buried, *options) == [ALL[i] for i in places]


def test_time_filters_cut_between_letters(buried: Site) -> None:
    rows = json.loads(dlq(buried, "list", "--json").stdout)
    third = rows[2]["at"]
    earlier = [name for name, row in zip(ALL, rows, strict=True) if row["at"] < third]
    assert listed(buried, "--until", third) == earlier
    assert listed(buried, "--since", third) == ALL[len(earlier) :]
    after = format_ms(parse(rows[-1]["at"]) + 1)
    assert listed(buried, "--since", after) == []


def test_letters_are_counted_by_what_is_wrong_with_them(buried: Site) -> None:
    rows = json.loads(dlq(buried, "list", "--counts", "--json").stdout)
    assert [(r["count"], r["topic"], r["outcome"], r["field"]) for r in rows] == [
        (2, "cx.survey", "orphan", "type"),
        (2, "cx.visit", "invalid", "pages"),
        (1, "cx.visit", "invalid", "labels.channel"),
    ]
    shown = dlq(buried, "list", "--counts", "--reason", "labels")
    assert shown.stdout.splitlines()[1].split()[:3] == ["1", "cx.visit", "invalid"]
    assert shown.stderr == "1 dead letter\n"


def test_what_was_sent_again_is_marked_and_not_pending(site: Site) -> None:
    five_letters(site)
    redriven(site, "--yes", "--even-if-refused", "--reason", "pages")
    assert listed(site, "--pending") == ALL[2:]
    rows = json.loads(dlq(site, "list", "--json").stdout)
    assert [row["redriven"] for row in rows] == [True, True, False, False, False]
    assert "redriven     this letter was sent again" in dlq(site, "show", ALL[0]).stdout


@pytest.mark.parametrize(
    "name",
    [["cx.visit/3/2"], ["cx.visit", "3", "2"], ["cx.visit.dlq/3/2"], ["PREFIXcx.visit.dlq/3/2"]],
)
def test_show_marks_the_field_and_says_the_rule(buried: Site, name: list[str]) -> None:
    words = [word.replace("PREFIX", buried.prefix) for word in name]
    result = dlq(buried, "show", *words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "dead letter  cx.visit/3/2" in lines
    assert "source       cx.visit, partition 3, offset 0" in lines
    assert any(line.startswith("rule         labels.channel: a text of 1 to 64") for line in lines)
    (place,) = [i for i, line in enumerate(lines) if '"channel": "zzz' in line]
    assert lines[place + 1].strip().startswith("^^^^")
    assert lines[place + 1].endswith(" must have 1 to 64 characters")
    assert "\x1b" not in result.stdout


def test_show_gives_the_record_as_json_or_as_it_is(buried: Site) -> None:
    said = json.loads(dlq(buried, "show", "cx.visit/0/0", "--json").stdout)
    assert (said["value"], said["key"]) == (visit(1, pages="x").decode(), "a")
    assert said["rule"].startswith("pages (optional): a whole number")
    assert dlq(buried, "show", "cx.visit/0/0", "--raw").stdout_bytes == visit(1, pages="x")


def test_show_says_of_a_record_that_is_not_there_where_it_lies(site: Site) -> None:
    why = "3000000 bytes, more than the topic takes \x1b[2Junpacked"
    bury(site, [(3, b"k", visit(1))], refusal=PAGES, left_out=why)
    shown = dlq(site, "show", "cx.visit/3/0").stdout.splitlines()
    assert shown[-1] == (
        "record       left out: 3000000 bytes, more than the topic takes \\x1b[2Junpacked;"
        " it lies in cx.visit, partition 3, offset 0"
    )
    assert not any(line.startswith("key") or "no value" in line for line in shown)
    assert json.loads(dlq(site, "show", "cx.visit/3/0", "--json").stdout)["left_out"] == why
    raw = dlq(site, "show", "--raw", "cx.visit/3/0")
    assert (raw.exit_code, raw.stdout, len(raw.stderr.splitlines())) == (2, "", 1)
    assert "does not hold the record" in raw.stderr
    assert raw.stderr.endswith("it lies in cx.visit, partition 3, offset 0\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cx.visit/0/7", "there is no dead letter cx.visit/0/7"),
        ("cx.visit/0/1", "there is no dead letter cx.visit/0/1"),
        ("cx.visit/2/0", "partition 2 is empty"),
        ("cx.visit/9/0", "has 4 partitions"),
        ("cx.nothing/0/0", "is no topic with dead letters"),
        ("cx.visit/0", "TOPIC/PARTITION/OFFSET"),
        ("cx.visit/0/-1", "TOPIC/PARTITION/OFFSET"),
    ],
)
def test_what_is_not_there_is_said(buried: Site, name: str, said: str) -> None:
    result = dlq(buried, "show", name)
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]


def test_hostile_contents_reach_no_terminal(site: Site) -> None:
    refusal = Refusal(0, "invalid", f"labels.{HOSTILE.decode('latin-1')}", "is \x1b[31m wrong\x9b")
    record: Buried = (0, HOSTILE, b'{"type":"visit.ended","labels":"' + HOSTILE + b'"}')
    clean: Buried = (0, b"[red]k[/red]", visit(1, note=HOSTILE.decode("latin-1")))
    bury(site, [record, clean], refusal=refusal, own=[("x\x1b[31m\u202e", HOSTILE)])
    for command in (
        ["list"],
        ["list", "--json"],
        ["list", "--counts"],
        ["list", "--counts", "--json"],
        ["show", "cx.visit/0/0"],
        ["show", "cx.visit/0/0", "--json"],
        ["show", "cx.visit/0/1"],
        ["show", "cx.visit/0/1", "--json"],
        ["redrive"],
        ["redrive", "--json"],
    ):
        for color in (False, True):
            result = CliRunner().invoke(cli, arguments(site, *command), color=color)
            assert result.exit_code in (0, 1), result.output
            assert all(line.isprintable() for line in result.output.splitlines()), command
            assert len(result.stdout.splitlines()) < 40


def test_letters_are_listed_whatever_their_headers_are_called(site: Site) -> None:
    bury(site, [(0, b"k", visit(1, pages="x"))], refusal=PAGES)
    strange = batch_of([(b"k", b"of somebody else", [(b"n\xe4me", b"x")])])
    append(site.bootstrap, site.source("cx.visit") + ".dlq", strange)
    # The marker that the first was committed lies before or behind the second.
    assert len(listed(site, "--all-groups")) == 2


def on_a_terminal(site: Site, *more: object) -> str:
    """What a terminal of 80 columns gets to see."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "stream", *arguments(site, *more)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm-256color"},
    ):
        os.close(theirs)
        shown = b""
        # A terminal whose program has ended is an error on Linux, an empty read elsewhere.
        with suppress(OSError):
            while part := os.read(ours, 65_536):
                shown += part
    os.close(ours)
    return shown.decode()


def test_a_terminal_sees_our_own_colours_and_nothing_of_the_records(site: Site) -> None:
    value = visit(1, pages="three", note=HOSTILE.decode("latin-1"))
    bury(site, [(0, HOSTILE, value)], refusal=PAGES, own=[("x\x1b[5m", HOSTILE)])
    for command in (["list"], ["list", "--counts"], ["redrive"]):
        lines = unstyled(on_a_terminal(site, *command)).splitlines()
        assert all(line.isprintable() and len(line) <= 80 for line in lines), command
    shown = on_a_terminal(site, "show", "cx.visit/0/0")
    assert all(line.isprintable() for line in unstyled(shown).splitlines())
    assert "\x1b[1;31m    ^^^^^^^^^^^^^^^^ expected" in shown


def unstyled(shown: str) -> str:
    """What a terminal shows, without colours and bold type."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_nothing_at_all_is_said_in_a_line(site: Site) -> None:
    for command in (["list"], ["list", "--counts"], ["redrive"], ["redrive", "--yes"]):
        result = dlq(site, *command)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), command
        assert f"{site.prefix}cx.visit.dlq" in result.stderr
        assert "no worker has run here" in result.stderr


def test_a_topic_without_letters_is_fine(buried: Site) -> None:
    assert dlq(buried, "list", "--topic", "cx.cart").stderr == "0 dead letters\n"
    assert json.loads(dlq(buried, "list", "--topic", "cx.cart", "--json").stdout) == []
    assert "nothing to send" in dlq(buried, "redrive", "--topic", "cx.cart").stderr


@pytest.mark.parametrize("command", [["list"], ["show", "cx.visit/0/0"], ["redrive"]])
def test_a_broker_that_is_away_is_one_line(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[kafka]\nbootstrap = "127.0.0.1:1"\n')
    result = CliRunner().invoke(cli, ["dlq", *command, "--config", str(file)])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "no Kafka broker answers at 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since", "yesterday"], "neither a time such as"),
        (["--since", "2026-13-01T00:00:00Z"], "is not an RFC 3339 date-time"),
        (["--topic", "cx.nothing"], "is no topic with dead letters"),
        (["--since", "2h", "--until", "3h"], "nothing lies between them"),
        (["--since", "2h", "--until", "999999999999999d"], "--until 1970-01-01T00:00:00.000Z"),
        (["--outcome", "late"], "'late'"),
        (["--limit", "0"], "0"),
    ],
)
def test_options_that_mean_nothing_are_usage_errors(options: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["dlq", "list", *options])
    assert result.exit_code == 2
    assert said in result.stderr


def test_as_a_program_it_prints_the_same(buried: Site) -> None:
    run = process(buried, "list", "--json")
    out, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "")
    assert len(json.loads(out)) == 5
