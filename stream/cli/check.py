"""``cxkpi check``: what is wrong with the configuration, or what it amounts to."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from stream.cli.asking import ask
from stream.cli.configured import config_option, unusable
from stream.cli.failure import CommandFailed
from stream.config import (
    DEFAULT_FILE,
    Benchmark,
    Config,
    ConfigError,
    SinkConfig,
    durations,
    load,
)
from stream.config.errors import Problem
from stream.config.loading import Need, file_read
from stream.config.warned import warned_of
from stream.core.alerts import described
from stream.deadletters.letter import ALERT_TOPIC


@click.command()
@config_option
@click.option(
    "--no-secrets",
    is_flag=True,
    help="Don't look for passwords, certificates and the sinks' secrets.",
)
@click.option(
    "--state",
    "with_state",
    is_flag=True,
    help="Ask the broker what becomes of the group's state.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(
    context: click.Context,
    config_path: Path | None,
    no_secrets: bool,
    with_state: bool,
    as_json: bool,
) -> None:
    """Check the configuration and print it in short.

    Each problem is one line: file, line, key, what is allowed. Only --state asks a broker: it
    also says what a worker of this configuration keeps, starts empty or drops of the state
    that is there, and why it would refuse it. Exit code 0: fine, 1: something is wrong, refused,
    or would be dropped, 2: there is no such file, it isn't TOML, or no broker answers.
    """
    try:
        needs: tuple[Need, ...] = () if no_secrets else ("kafka", "sinks")
        config = load(config_path, os.environ, needs=needs, vet=unusable)
    except ConfigError as error:
        _report(error, as_json)
        context.exit(2 if error.unreadable else 1)
    read = file_read(config_path)
    try:
        becomes = _state(config) if with_state else None
    except CommandFailed as failed:
        if as_json:
            _print_problems([Problem(config.kafka.bootstrap, "", failed.message)])
        raise
    if as_json:
        more = {} if becomes is None else {"state": becomes}
        ok = becomes is None or becomes["ok"]
        click.echo(json.dumps({"ok": ok, "file": read and str(read), **_summary(config), **more}))
    else:
        click.echo(_text(config, read, becomes))
    context.exit(0 if becomes is None or becomes["ok"] else 1)


def _state(config: Config) -> dict[str, Any]:
    """What becomes of the group's state.

    Raises:
        CommandFailed: the broker does not say.
    """
    # The Kafka client takes a while to import, which a check without it need not wait for.
    from stream.kafka.group_state import look_at_group

    settings = config.core()
    found = ask(look_at_group(config.kafka, settings))
    facts = () if found.refusal else found.facts(settings)
    told = [{"what": f.what, "becomes": f.becomes, "text": f.text} for f in facts]
    ok = not found.refusal and not any(f.becomes == "dropped" for f in facts)
    return {"ok": ok, "version": found.version, "refused": found.refusal, "facts": told}


def _report(error: ConfigError, as_json: bool) -> None:
    for problem in error.problems:
        click.echo(str(problem), err=True)
    if as_json:
        _print_problems(error.problems)


def _print_problems(problems: Sequence[Problem]) -> None:
    told = [
        {"where": p.where, "line": p.line or None, "key": p.key, "message": p.message}
        for p in problems
    ]
    click.echo(json.dumps({"ok": False, "problems": told}))


def _summary(config: Config) -> dict[str, Any]:
    """The configuration in short, without secrets."""
    kafka = config.kafka
    return {
        "dimensions": list(config.dimensions),
        "rollups": [list(r) for r in config.rollups],
        "windows": [{"size": w.label, "pane": durations.label(w.pane_ms)} for w in config.windows],
        "kafka": {
            "bootstrap": kafka.bootstrap,
            "group": kafka.group,
            "topic_prefix": kafka.topic_prefix,
            "security_protocol": kafka.security_protocol,
        },
        "http": {"host": config.http.host, "port": config.http.port},
        "benchmarks": [figure._asdict() for figure in config.figures],
        "alerts": [
            {"name": r.name, "severity": r.severity, "rule": described(r)}
            for r in config.core().rules
        ],
        "warnings": _warnings(config),
        "sinks": [{"name": s.name, "type": s.type, "to": _target(s)} for s in config.sinks],
    }


def _warnings(config: Config) -> list[str]:
    return [*config.strangers, *warned_of(config)]


def _text(config: Config, read: Path | None, becomes: dict[str, Any] | None) -> str:
    kafka = config.kafka
    prefix = f', topics "{kafka.topic_prefix}…"' if kafka.topic_prefix else ""
    host = f"[{config.http.host}]" if ":" in config.http.host else config.http.host
    lines = [
        ("file", str(read) if read else f"none; there is no {DEFAULT_FILE} here"),
        ("dimensions", ", ".join(config.dimensions) or "none"),
        ("rollups", " ".join(f"[{', '.join(r)}]" for r in config.rollups)),
        ("windows", ", ".join(f"{w.label}/{durations.label(w.pane_ms)}" for w in config.windows)),
        ("kafka", f"{kafka.bootstrap} {kafka.security_protocol}, group {kafka.group}{prefix}"),
        ("http", f"{host}:{config.http.port}"),
        *(("benchmark", _figure(figure)) for figure in config.figures),
        *(("alert", f"{r.name}: {described(r)}, {r.severity}") for r in config.core().rules),
        *(("sink", line) for line in _sink_lines(config)),
    ]
    lines += [("warning", warning) for warning in _warnings(config)]
    lines += [("state", line) for line in _state_lines(becomes)]
    verdict = ["ok"] if becomes is None or becomes["ok"] else []
    return "\n".join([*(f"{name:<10}  {value}" for name, value in lines), *verdict])


def _state_lines(becomes: dict[str, Any] | None) -> list[str]:
    if becomes is None:
        return []
    if becomes["refused"]:
        return [becomes["refused"]]
    if becomes["version"] is None:
        return ["there is none yet"]
    facts = [f"{f['what']}: {f['becomes']}; {f['text']}" for f in becomes["facts"]]
    return [f"written by version {becomes['version']}", *(facts or ["all of it is kept"])]


def _figure(figure: Benchmark) -> str:
    return f"{figure.kpi} {figure.industry}: {figure.value:g} ({figure.source}; {figure.year})"


def _sink_lines(config: Config) -> list[str]:
    """The sinks; that nobody is told of alerts is a choice, but is easily overlooked."""
    if config.alerts and not config.sinks:
        topic = config.kafka.topic_prefix + ALERT_TOPIC
        return [f"none; changes of alerts go to the topic {topic} only"]
    return [f"{sink.name}: {_target(sink)}" for sink in config.sinks]


def _target(sink: SinkConfig) -> str:
    """Where a sink posts to: no more of an address than its host, as paths may hold tokens."""
    if sink.url_env is not None:
        return f"${sink.url_env}"
    if sink.url_file is not None:
        return sink.url_file
    if sink.url is None:
        return "standard error"
    address = urlsplit(sink.url.get_secret_value())
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}/{'…' if address.path.strip('/') or address.query else ''}"
