"""PromQL over the worker's metrics, with the dashboard's variables in it.

A series of the total has no dimension label, and one of a rollup only the labels of that rollup.
So every query names all dimensions, each with a variable: its *All* stands for the label's
absence, the total, and never for all values together, which would count each event several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stream.core.alerts.links import variable_of
from stream.metrics.scraping import moving, scraped

#: What a dimension's variable holds while it is *All*: the label is absent.
ABSENT = "^$"
WINDOW = 'window="$window"'
#: What a summary without quantiles consists of, so that their quotient is the mean.
_PARTS = ("sum", "count")


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the name of its series in legends."""

    expr: str
    legend: str


def chosen(gauge: str, dimensions: Sequence[str]) -> str:
    """The series of a KPI's gauge that the variables choose."""
    matchers = [WINDOW, *(f'{scraped(name)}=~"${variable_of(name)}"' for name in dimensions)]
    return owned(f"{gauge}{{{', '.join(matchers)}}}", dimensions)


def by_dimension(gauge: str, dimension: str, dimensions: Sequence[str]) -> str:
    """The series of a KPI's gauge by one dimension alone."""
    rest = (f'{scraped(name)}{"!=" if name == dimension else "="}""' for name in dimensions)
    return owned(f"{gauge}{{{', '.join([WINDOW, *rest])}}}", dimensions)


def benchmark(kpi: str) -> str:
    """The published figures for a KPI of the industries that the variable chooses."""
    return f'max by (industry) (cx_benchmark{{kpi="{kpi}", industry=~"$industry"}})'


def owned(selector: str, dimensions: Sequence[str]) -> str:
    """Series whoever exposes them; a dimension that is called as a process's label is kept."""
    return f"max without ({', '.join(moving(dimensions))}) ({selector})"


def named(text: str, labels: Sequence[str]) -> str:
    """A legend: the text, then the values of labels as the worker names them."""
    return " ".join((text, *(f"{{{{{scraped(label)}}}}}" for label in labels))).strip()


def rate(counter: str, by: str) -> str:
    """The rate per second of a counter, by a label."""
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


def within_an_hour(counter: str) -> str:
    """By how much a counter rose within an hour, in all workers together."""
    return f"sum(increase({counter}[1h]))"


def mean_duration(summary: str) -> str:
    """The mean duration in seconds, by worker, of what a summary without quantiles times."""
    rates = (f"sum by (instance) (rate({summary}_{part}[$__rate_interval]))" for part in _PARTS)
    return " / ".join(rates)
