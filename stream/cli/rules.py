"""``cxkpi rules``: the configuration's rules, and those on the pipeline, for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click

from stream.cli.configured import config_option, configuration, files_of
from stream.cli.values import Duration, Named
from stream.cli.written import output_option, print_or_write, refuse_overwriting
from stream.rules import Document, Options, exported
from stream.rules.export import LEAST_SILENCE, MOST_SILENCE, KpiRules

_DEFAULTS = Options()


@click.group()
def rules() -> None:
    """Write the alert rules for Prometheus, as YAML or with --json."""


@rules.command(short_help="Write Prometheus alerting rules.")
@config_option
@output_option
@click.option(
    "--kpi-rules",
    type=click.Choice(get_args(KpiRules)),
    default=_DEFAULTS.kpi_rules,
    show_default=True,
    help="Who evaluates the rules on KPIs: Prometheus; the workers, whose alerts are handed on; or"
    " leave them out.",
)
@click.option(
    "--runbooks",
    type=Named(),
    default=_DEFAULTS.runbooks,
    show_default=True,
    metavar="URL",
    help="Where the runbooks are: a page is URL/ALERT.md.",
)
@click.option(
    "--job",
    type=Named(),
    default=_DEFAULTS.job,
    show_default=True,
    help="The job that scrapes the workers.",
)
@click.option(
    "--silence",
    "silence_ms",
    type=Duration(LEAST_SILENCE, MOST_SILENCE),
    default="1h",
    show_default=True,
    help="So long without an event of a topic is an alert: 1m to 366d.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML.")
@click.pass_context
def export(
    context: click.Context,
    config_path: Path | None,
    output: Path | None,
    kpi_rules: KpiRules,
    runbooks: str,
    job: str,
    silence_ms: int,
    as_json: bool,
) -> None:
    """Write Prometheus alerting rules: those of the configuration, and on the pipeline itself.

    The file holds comments where Prometheus' states can differ from a worker's. Exit code 1: a rule
    can't be expressed; it is left out, named on standard error and in the file.
    """
    config = configuration(config_path, needs=())
    refuse_overwriting(files_of(config_path, config), {"--output": output})
    document = exported(config, Options(job, runbooks, kpi_rules, silence_ms))
    _write(document, output, as_json)
    if "://" not in runbooks:
        click.echo(
            f"runbook_url is a path below {runbooks}, no link in alerts; give --runbooks https://…",
            err=True,
        )
    for one in document.left_out:
        click.echo(f"left out: {one.rule}: {one.reason}", err=True)
    context.exit(1 if document.left_out else 0)


def _write(document: Document, output: Path | None, as_json: bool) -> None:
    text = json.dumps(document.plain(), indent=2) + "\n" if as_json else document.yaml()
    print_or_write(text, output)
