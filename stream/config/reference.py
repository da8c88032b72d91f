"""The page ``docs/configuration.md``, from the model: ``python -m stream.config.reference``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from stream.config import durations
from stream.config.benchmarks import MOST_BENCHMARKS, BenchmarkEntry
from stream.config.environment import PASSWORD, variable
from stream.config.fields import Between, Duration, OneOf
from stream.config.model import Config
from stream.config.table import is_array_of_tables, table_of
from stream.config.units import InUnit

#: A complete file; the tests check it.
EXAMPLE: Final = """\
dimensions = ["channel", "region"]
rollups = [[], ["channel"], ["region"], ["channel", "region"]]

[kafka]
bootstrap = "kafka-1:9092,kafka-2:9092"
replication = 3
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_username = "cxkpi"              # the password: CXKPI_KAFKA__SASL_PASSWORD

[http]
host = "0.0.0.0"

[dashboard]
url = "https://grafana.example/"

[[window]]
size = "1h"
pane = "1m"

[[window]]
size = "7d"
pane = "1h"

[health.weights]
usage = 2.0

[[alert]]
name = "CsatLow"
kpi = "csat"
window = "1h"
by = ["region"]
below = 0.7
clear = 0.75
for = "5m"
significant = true
severity = "critical"
summary = "Customers in {region} are dissatisfied: {value} of the answers are good."
runbook_url = "https://runbooks.example/csat"

[[alert]]
name = "ChurnSpike"
kpi = "churn"
window = "1h"
baseline = "7d"
factor = 2.0
min_covered = 0.9

[[alert]]
name = "NoSurveys"
topic = "cx.survey"
absent_for = "30m"

[[sink]]
type = "slack"
url_env = "SLACK_URL"
"""

_KEYS: Final = ", ".join(f"`{key}`" for key in BenchmarkEntry.model_fields)
_INTRODUCTION: Final = f"""\
# Configuration

One TOML file: `--config FILE`, by default `cxkpi.toml` where it exists; without a file the
defaults work. Every key outside `[[window]]`, `[[alert]]` and `[[sink]]` can also be set by a
variable of the environment, which wins over the file. Lists are comma-separated there, or JSON;
lists of lists and tables are JSON. The variable of `key` in `[table]` is `CXKPI_TABLE__KEY`;
that of a single weight is `CXKPI_HEALTH__WEIGHTS__` and the signal in capitals. A slip in such a
name is refused; any other variable that begins with `CXKPI_` and sets nothing is warned of by
every command, save those that Kubernetes sets.

`cxkpi check` says what is wrong, one line for each problem with file, line, key and what is allowed
(entries of arrays count from 0), and prints the configuration in short:

```console
$ cxkpi check
cxkpi.toml:14: alert[0].kpi: unknown KPI "npz"; did you mean "nps"? allowed: nps, csat, …
```

Durations are a whole number and a unit: `250ms`, `5s`, `30m`, `24h`, `7d`. Unknown keys are
refused. `schemas/config.json` says as much of this as JSON Schema can: with
`#:schema schemas/config.json` in the first line, editors complete and check the file. `cxkpi check`
checks the rest.

Secrets never stand in the file, and no output shows them. A sink's address or secret comes from a
variable (`url_env`, `secret_env`) or a file (`url_file`, `secret_file`), the password for Kafka
from `{PASSWORD}` or `sasl_password_file`. Paths are relative to the folder of
the configuration. `cxkpi check --no-secrets` checks the rest where they aren't at hand.

```toml
{EXAMPLE}```

## Benchmarks

`benchmarks` names a TOML file of published figures of industries, each an entry of the array
`[[benchmark]]`: {_KEYS}. All five are required.
`industry` has up to 64 printable characters, `value` is in the unit of the KPI's gauge and within
its range (0.7 for a share of 70%), `year` is the year that the figure is of, or else was published
in. There are at most {MOST_BENCHMARKS} figures, one for each KPI and industry; KPIs that are
amounts or counts have none. Each is a series of `cx_benchmark`, and a dotted line in the dashboard.
Nothing is shipped as a default, since no figure suits everybody: `examples/benchmarks.toml` holds
some that were read in their sources.
"""


def reference() -> str:
    """Return the page."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    fields = Config.model_fields
    plain = {n: i for n, i in fields.items() if table_of(i) is None}
    yield _section("Top level", "These stand before the first table.", "", plain)
    for name, info in fields.items():
        table = table_of(info)
        if table is None:
            continue
        key = info.alias or name
        many = is_array_of_tables(info)
        title = f"`[[{key}]]`" if many else f"`[{key}]`"
        about = " ".join((table.__doc__ or "").split())
        yield _section(title, about, key, table.model_fields, by_variable=not many)


def _section(
    title: str, about: str, section: str, fields: dict[str, FieldInfo], *, by_variable: bool = True
) -> str:
    columns = ["Key", "Type", "Default", "Meaning", *(["Variable"] if by_variable else [])]
    rows = [columns, ["---"] * len(columns)]
    for name, info in fields.items():
        key = info.alias or name
        row = [f"`{key}`", _type(info), _default(info), " ".join((info.description or "").split())]
        path = (section, key) if section else (key,)
        rows.append([*row, f"`{variable(*path)}`"] if by_variable else row)
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"## {title}\n\n{about}\n\n{table}\n"


def _type(info: FieldInfo) -> str:
    kind, marks = _plain(info)
    for mark in marks:
        if isinstance(mark, Duration):
            return f"duration, {mark.range()}"
        if isinstance(mark, OneOf):
            return "id of a KPI" if mark.what == "KPI" else _listed(mark.allowed())
        if isinstance(mark, Between):
            return f"{'whole number' if kind is int else 'number'}, {mark.range()}"
        if isinstance(mark, InUnit):
            return "number, in the KPI's unit"
    words: dict[Any, str] = {str: "text", bool: "true or false", float: "number", SecretStr: "text"}
    if kind in words:
        return words[kind]
    if "dict" in str(kind):
        return "table of numbers"
    return "list of lists of names" if str(kind).count("tuple") > 1 else "list of names"


def _listed(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words[:-1]) + f" or `{words[-1]}`"


def _plain(info: FieldInfo) -> tuple[Any, list[Any]]:
    """A field's type without ``None``, and all markers."""
    kind: Any = info.annotation
    marks = list(info.metadata)
    inner = [k for k in get_args(kind) if k is not type(None)]
    if type(None) in get_args(kind):
        kind = inner[0]
    while hasattr(kind, "__metadata__"):
        marks += kind.__metadata__
        kind = kind.__origin__
    return kind, marks


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    if default is None:
        return ""
    if any(isinstance(m, Duration) for m in info.metadata):
        return f"`{durations.label(default)}`"
    return f"`{json.dumps(default)}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
