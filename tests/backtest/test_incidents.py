"""Marked incidents are read from TOML and from JSON lines; what is wrong is said in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.backtest.incidents import Incident, IncidentsRefused, read_incidents

TOML = """
[[incident]]
name = "late"
start = 2026-03-02T11:00:00+01:00
end = "2026-03-02T10:30:00Z"
kpi = "csat"
labels = { region = "eu" }

[[incident]]
start = "2026-03-02T08:00:00Z"
end = "2026-03-02T09:00:00.500Z"
"""
LINES = """\
{"name": "late", "start": "2026-03-02T10:00:00Z", "end": "2026-03-02T10:30:00Z", "kpi": "csat", \
"labels": {"region": "eu"}}

{"name": "incident 2", "start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:00:00.500Z"}
"""
DIMENSIONS = ("channel", "region")
TEN = 1_772_445_600_000


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[("i.toml", TOML), ("i.toml", "\ufeff" + TOML), ("i.toml", TOML.replace("\n", "\r\n"))],
        *[("i.jsonl", LINES), ("i.jsonl", "\ufeff" + LINES), ("i", LINES)],
    ],
)
def test_both_forms_say_the_same_in_order_of_time(tmp_path: Path, name: str, text: str) -> None:
    first, second = read_incidents(written(tmp_path, name, text), DIMENSIONS)
    assert first == Incident("incident 2", TEN - 7_200_000, TEN - 3_599_500)
    assert second == Incident("late", TEN, TEN + 1_800_000, "csat", {"region": "eu"})


def test_a_file_without_incidents_marks_none(tmp_path: Path) -> None:
    assert read_incidents(written(tmp_path, "i.toml", ""), DIMENSIONS) == ()
    assert read_incidents(written(tmp_path, "i.jsonl", "\n"), DIMENSIONS) == ()


START = 'start = "2026-03-02T10:00:00Z"\n'
END = 'end = "2026-03-02T11:00:00Z"\n'
TIMES = START + END


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (START, "incident[0].end: is required: an RFC 3339 date-time"),
        (END, "incident[0].start: is required: an RFC 3339 date-time"),
        ("start = 2026-03-02\n" + END, "incident[0].start: must be an RFC 3339 date-time"),
        ("start = 2026-03-02T10:00:00\n" + END, "incident[0].start: must be an RFC 3339"),
        ('start = "soon"\n' + END, "incident[0].start: must be an RFC 3339 date-time with offset"),
        (START + 'end = "2026-03-02T10:00:00Z"\n', "incident[0].end: must be later than start"),
        (TIMES + 'kpi = "cast"\n', 'incident[0].kpi: unknown KPI "cast"; did you mean "csat"?'),
        (TIMES + "kpi = []\n", "incident[0].kpi: unknown KPI []; allowed: nps"),
        (TIMES + "labels = 3\n", "incident[0].labels: must be names with texts, not 3"),
        (TIMES + "labels = { region = 3 }\n", "incident[0].labels.region: must be a text, not 3"),
        (
            TIMES + 'labels = { window = "5m" }\n',
            "incident[0].labels.window: is no label of a series; allowed: channel, region, curr",
        ),
        (
            TIMES + 'labels = { regio = "us" }\n',
            'incident[0].labels.regio: is no label of a series; did you mean "region"? allowed: ch',
        ),
        (
            TIMES + 'kpi = "csat"\nlabels = { currency = "EUR" }\n',
            "incident[0].labels.currency: is no label of csat; allowed: channel, region",
        ),
        (TIMES + 'name = ""\n', "incident[0].name: must be a text of 1 to 200 characters"),
        (
            TIMES + "nmae = 1\n",
            'incident[0].nmae: unknown key; did you mean "name"? allowed: name,',
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_what_is_allowed(
    tmp_path: Path, table: str, message: str
) -> None:
    path = written(tmp_path, "i.toml", "[[incident]]\n" + table)
    with pytest.raises(IncidentsRefused) as refused:
        read_incidents(path, DIMENSIONS)
    (problem,) = map(str, refused.value.problems)
    assert re.sub(r":\d+:", ":", problem, count=1).startswith(f"{path}: {message}")
    assert "\n" not in problem


def test_a_label_that_series_of_the_incidents_kpi_have_is_taken(tmp_path: Path) -> None:
    for kpi in ("", 'kpi = "clv"\n'):
        table = TIMES + kpi + 'labels = { plan = "pro", currency = "EUR" }\n'
        path = written(tmp_path, "i.toml", "[[incident]]\n" + table)
        (incident,) = read_incidents(path, ("plan",))
        assert incident.labels == {"plan": "pro", "currency": "EUR"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.toml", "[incident]\nstart = 1\n", ":1: incident: must be an array of tables"),
        ("i.toml", "incident = [3]\n", ":1: incident[0]: must be a table or object with start"),
        ("i.toml", "\n[[outage]]\n", ":2: outage: unknown key; allowed: incident"),
        ("i.toml", "[[incident\n", ":1: not TOML: "),
        ("i.toml", "a = " + "[" * 20_000, ": nested too deeply"),
        ("i.toml", "a = " + "9" * 5_000, ": a number is too long"),
        ("i.jsonl", "\n[1]\n", ":2: must be a table or object with start and end, not [1]"),
        ("i.jsonl", "[[incident]]\n", ":1: not JSON: "),
        ("i.jsonl", "[" * 200_000, ":1: not JSON: "),
        ("i.jsonl", '{"start": ' + "9" * 5_000 + "}", ":1: not JSON: number is"),
        ("i.jsonl", '{"name": "\\ud800"}', ":1: not JSON: "),
        ("missing.toml", None, ": no such file or directory"),
    ],
)
def test_a_file_of_another_form_is_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name if text is None else written(tmp_path, name, text)
    with pytest.raises(IncidentsRefused) as refused:
        read_incidents(path, DIMENSIONS)
    assert str(refused.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("name", ["i.toml", "i.jsonl"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(IncidentsRefused, match="not UTF-8"):
        read_incidents(path, DIMENSIONS)


def test_a_name_may_hold_what_ends_a_line_elsewhere(tmp_path: Path) -> None:
    line = '{"name": "a\u2028b", "start": "2026-03-02T10:00:00Z", "end": "2026-03-02T10:30:00Z"}\n'
    (incident,) = read_incidents(written(tmp_path, "i.jsonl", line), DIMENSIONS)
    assert incident.name == "a\u2028b"


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        (
            "i.jsonl",
            '{"start": 1, "end": "x"}\n{"start": "2026-03-02T10:00:00Z"}\n',
            ["1", "1", "2"],
        ),
        (
            "i.toml",
            f"[[incident]]\n{TIMES}kpi = 3\n\n[[incident]]\n{START}\n[incident.labels]\na = 1\n",
            ["4", "6", "10"],
        ),
    ],
)
def test_every_problem_has_its_line(tmp_path: Path, name: str, text: str, lines: list[str]) -> None:
    with pytest.raises(IncidentsRefused) as refused:
        read_incidents(written(tmp_path, name, text), DIMENSIONS)
    found = [str(p).split(": ")[0].rsplit(":", 1)[1] for p in refused.value.problems]
    assert found == lines


@pytest.mark.parametrize(
    ("labels", "series", "agrees"),
    [
        ({}, (("region", "eu"),), True),
        ({"region": "eu"}, (), True),
        ({"region": "eu"}, (("region", "eu"),), True),
        ({"region": "eu"}, (("region", "us"),), False),
        ({"region": "eu"}, (("channel", "web"),), True),
        ({"region": "eu"}, (("channel", "web"), ("region", "us")), False),
    ],
)
def test_a_series_may_show_an_incident_unless_a_label_has_another_value(
    labels: dict[str, str], series: tuple[tuple[str, str], ...], agrees: bool
) -> None:
    assert Incident("i", 0, 1, labels=labels).agrees(series) is agrees


def test_an_incident_without_kpi_concerns_every_rule() -> None:
    assert Incident("i", 0, 1).concerns("csat")
    assert Incident("i", 0, 1, "csat").concerns("csat")
    assert not Incident("i", 0, 1, "nps").concerns("csat")
