"""The runbooks: one for each alert, with commands and queries that work."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest

from stream import monitor
from stream.cli import cli
from stream.core import merge
from stream.kafka import belonging, owner, refusal
from stream.rules.export import KPI_RUNBOOK
from stream.rules.pipeline import PIPELINE, WORKERS_OWN
from tests.fixtures.prometheus import PrometheusTools

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
#: Programs that pages may use beside the product's.
OTHERS = {"curl", "docker", "kcat"}


def blocks(page: Path, language: str) -> list[str]:
    """The code of a language on a page."""
    return re.findall(rf"```{language}\n(.*?)\n```", page.read_text("utf-8"), re.DOTALL)


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    alerts = {alert.name for alert in (*PIPELINE, WORKERS_OWN)} | {KPI_RUNBOOK}
    assert {page.stem for page in PAGES} == alerts
    listed = re.findall(r"\]\((\w+)\.md\) \|", (FOLDER / "README.md").read_text("utf-8"))
    assert sorted(listed) == sorted(alerts)


def test_the_page_of_the_rules_lists_each_alert_on_the_pipeline_with_its_severity() -> None:
    page = (FOLDER.parent / "rules.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| ([^|]+) \|", page, re.MULTILINE))
    assert listed == {a.name: a.severity or "that of the rule" for a in (*PIPELINE, WORKERS_OWN)}


@each_page
def test_a_page_says_what_it_is_about_what_it_costs_how_to_look_and_what_to_do(page: Path) -> None:
    headings = [line for line in page.read_text("utf-8").splitlines() if line.startswith("#")]
    wanted = [f"# {page.stem}", "## Impact", "## Diagnosis", "## Mitigation"]
    assert headings == wanted
    assert blocks(page, "promql")
    assert blocks(page, "sh")


def test_prometheus_takes_every_query(prometheus_tools: PrometheusTools, tmp_path: Path) -> None:
    rules = [
        {"record": f"{page.stem}:{number}", "expr": query}
        for page in PAGES
        for number, query in enumerate(blocks(page, "promql"))
    ]
    assert len(rules) > len(PAGES)
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    done = subprocess.run(
        [prometheus_tools.promtool, "check", "rules", "rules.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (refusal, "no Kafka broker answers"),
        (owner, "no partitions are assigned yet"),
        (owner, "the group is rebalancing"),
        (owner, "can't be taken over yet"),
        (owner, "can't be read yet"),
        (owner, "taking over shard"),
        (owner, "recovering"),
        (belonging, "other workers read"),
        (monitor, "the group has accepted no heartbeat for"),
        (monitor, "its coordinator says"),
        (monitor, "reading the parts of"),
        (monitor, "is not evaluated yet"),
        (merge, "has not told"),
        (merge, "can't be read"),
        (merge, "is there"),
        (merge, "was not heard of"),
    ],
)
def test_the_page_of_a_worker_that_is_not_ready_has_what_it_says(
    module: ModuleType, words: str
) -> None:
    assert words in inspect.getsource(module)
    page = (FOLDER / "CxWorkerNotReady.md").read_text("utf-8")
    said = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    assert any(words in line for line in said)


@each_page
def test_every_command_exists_with_its_options(page: Path) -> None:
    for line in "\n".join(blocks(page, "sh")).splitlines():
        program, *words = shlex.split(line)
        if program == "cxkpi":
            unknown_to_click = sorted(unknown(words))
            assert not unknown_to_click, line
        else:
            assert program in OTHERS


@each_page
def test_a_configuration_that_is_looked_at_is_the_workers_own(page: Path) -> None:
    # From the folder of the repository the defaults would be looked at, which are never wrong.
    for line in "\n".join(blocks(page, "sh")).splitlines():
        if re.search(r"\bcxkpi (check|rules)\b", line):
            assert "--config " in line


def unknown(words: list[str]) -> set[str]:
    """Words of a command line that name no subcommand or option."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        if found is None:
            return {words[0]}
        command, words = found, words[1:]
    options = {name for parameter in command.params for name in parameter.opts}
    return {word for word in words if word.startswith("-")} - options
