"""What Prometheus itself makes of rules and series, through ``promtool test rules``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stream.core.kpi import Kpi
from stream.core.series import Sample
from stream.metrics.families import Part, gauge_of, parts_of
from stream.rules import Document

#: A series by steps of the evaluation; None where nobody exposes it.
Steps = list[float | None]
Name = tuple[str, tuple[tuple[str, str], ...]]


def failures(promtool: Path, folder: Path, document: Document, tests: Sequence[Any]) -> str:
    """What ``promtool test rules`` has to say against expectations; nothing where they are met."""
    (folder / "rules.yml").write_text(document.yaml(), "utf-8")
    unit = {"rule_files": ["rules.yml"], "evaluation_interval": "5s", "tests": list(tests)}
    (folder / "tests.yml").write_text(json.dumps(unit), "utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", "tests.yml"],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def exposed(
    kpis: Mapping[str, Kpi], rows: Sequence[Sequence[Sample]], instances: Sequence[str]
) -> dict[Name, Steps]:
    """The series of samples as Prometheus keeps them, each step's scraped from one instance."""
    series: dict[Name, Steps] = {}
    for step, (samples, instance) in enumerate(zip(rows, instances, strict=True)):
        for sample in samples:
            for metric, value in _gauges(kpis[sample.kpi], sample):
                labels = {
                    "instance": instance,
                    "job": "cxkpi",
                    "window": sample.window,
                    **dict(sample.labels),
                }
                name = (metric, tuple(sorted(labels.items())))
                series.setdefault(name, [None] * len(rows))[step] = value
    return series


def _gauges(kpi: Kpi, sample: Sample) -> Iterator[tuple[str, float]]:
    parts: tuple[Part, ...] = ("value", "lower", "upper", "numerator", "denominator")
    for part in parts:
        value = getattr(sample, part)
        if part in parts_of(kpi) and value is not None:
            yield gauge_of(kpi, part), value


def input_series(series: Mapping[Name, Steps]) -> list[dict[str, str]]:
    """The series in promtool's notation; what is absent was marked stale, as after a scrape."""
    return [
        {
            "series": f"{metric}{{{','.join(f'{k}={json.dumps(v)}' for k, v in labels)}}}",
            "values": " ".join("stale" if v is None else repr(float(v)) for v in values),
        }
        for (metric, labels), values in series.items()
    ]


def state_is(alert: str, labels: Mapping[str, str], seconds: int, phase: str) -> dict[str, Any]:
    """The expectation that an alert of a series is in a state after an evaluation."""
    matchers = "".join(f",{name}={json.dumps(value)}" for name, value in labels.items())
    found = [] if phase == "inactive" else [{"labels": f'{{alertstate="{phase}"}}', "value": 1}]
    return {
        "expr": f'count by (alertstate) (ALERTS{{alertname="{alert}"{matchers}}})',
        "eval_time": f"{seconds}s",
        "exp_samples": found,
    }
