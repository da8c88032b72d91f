"""PromQL over the worker's metrics, with the dashboard's variables in it.

A series of the total has no dimension label, and one of a rollup only the labels of that rollup.
So every query names all dimensions, each with a variable: its *All* stands for the label's
absence, the total, and never for all values together, which would count each event several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What a dimension's variable holds while it is *All*: the label is absent.
ABSENT = "^$"
WINDOW = 'window="$window"'
#: Labels that say which process was scraped; at a change of owner a series goes on under another.
_SCRAPE = "instance, pod"
#: What a summary without quantiles consists of, so that their quotient is the mean.
_PARTS = ("sum", "count")


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the name of its series in legends."""

    expr: str
    legend: str


def chosen(gauge: str, dimensions: Sequence[str]) -> str:
    """The series of a KPI's gauge that the variables choose."""
    matchers = [WINDOW, *(f'{name}=~"${name}"' for name in dimensions)]
    return _owned(f"{gauge}{{{', '.join(matchers)}}}")


def by_dimension(gauge: str, dimension: str, dimensions: Sequence[str]) -> str:
    """The series of a KPI's gauge by one dimension alone."""
    matchers = [WINDOW, *(f'{name}{"!=" if name == dimension else "="}""' for name in dimensions)]
    return _owned(f"{gauge}{{{', '.join(matchers)}}}")


def benchmark(kpi: str) -> str:
    """The published figures for a KPI of the industries that the variable chooses."""
    return f'max by (industry) (cx_benchmark{{kpi="{kpi}", industry=~"$industry"}})'


def _owned(selector: str) -> str:
    return f"max without ({_SCRAPE}) ({selector})"


def named(text: str, labels: Sequence[str]) -> str:
    """A legend: the text, then the values of the labels that the series has."""
    return " ".join((text, *(f"{{{{{label}}}}}" for label in labels))).strip()


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
