"""The pages of the KPIs: an index, and all that there is to say of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from stream.core.catalogue import LAYOUT, TOPICS
from stream.core.evaluate import Evaluator, Wanted
from stream.core.kpi import DERIVED, STORY_DAY, Example, Kpi
from stream.core.series import Sample
from stream.core.settings import Settings
from stream.core.shard import Shard
from stream.core.timestamps import parse
from stream.core.values import Values
from stream.core.worked import worked
from stream.metrics.families import gauge_of, kpi_families

NOTE: Final = "<!-- Made by `python -m stream.reference`; change the code, not this page. -->"
_STORY_ENDS: Final = f"{STORY_DAY}T12:00:00Z"
_BETTER: Final = {"up": "higher", "down": "lower", "neither": "neither"}
_COMPARABLE: Final = {
    "always": "in any window",
    "same window": "only in a window as long as the period that the figure is of",
    "never": "never: it is an amount or a count of this company",
}
_NO_BOUNDS: Final = (
    "None: the spread of what is added up is not kept, so there is nothing to make an interval"
    " of. In an alert rule with `significant` the value stands for its bounds; `min_samples`"
    " guards against few events where there is a denominator."
)
_LATE: Final = (
    "- A late event counts in the pane of its `occurred_at` as long as that pane is in the window,"
    " and corrects the value by so much. A repeated `event_id` within `dedupe` counts once."
)


def kpis_page() -> str:
    """The index of all KPIs, and the counters below them."""
    return "\n".join(_kpis()) + "\n"


def _kpis() -> Iterator[str]:
    yield from ("# KPIs", "", NOTE, "")
    yield (
        "Each KPI is a formula over integer counters. A window's value is made of the panes in the"
        " window, for every rollup. Without contributions there is no value: the gauge is absent,"
        " never 0. Each has a page: what it means, examples, bounds, what is left out, what"
        " corrects it, and how to sum it and to alert on it. Queries on these pages are for the"
        " dimensions `channel` and `region`: with others of your own, write each of those as"
        ' `name=""` for the total.'
    )
    for topic in TOPICS.values():
        yield from ("", f"## Fed by `{topic.name}`", "")
        yield "| KPI | what it is | formula | gauge | unit | better | bounds |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for kpi in topic.kpis:
            bounds = "" if kpi.bounds is None else kpi.bounds.short
            yield (
                f"| [`{kpi.id}`](kpis/{kpi.id}.md) | {kpi.help} | {kpi.formula} | `{kpi.gauge}` |"
                f" {kpi.unit} | {_BETTER[kpi.good]} | {bounds} |"
            )
    yield from ("", "## Counters", "", "| counter | meaning |", "| --- | --- |")
    for counter in LAYOUT.counters.values():
        yield f"| `{counter.name}` | {counter.help} |"


def kpi_page(kpi: Kpi) -> str:
    """All that there is to say of one KPI, from its entry of the catalogue."""
    return "\n".join(_kpi(kpi)) + "\n"


def _kpi(kpi: Kpi) -> Iterator[str]:
    meaning = kpi.meaning
    yield from (f"# {kpi.title} (`{kpi.id}`)", "", NOTE, "", kpi.help, "")
    yield from ("[All KPIs](../kpis.md)", "", "## Definition", "", meaning.definition, "")
    yield from ("```text", f"{kpi.id} = {kpi.formula}", "```", "")
    yield from ("| in the formula | is |", "| --- | --- |")
    for term in kpi.terms:
        counter = LAYOUT.counters.get(term.column)
        yield f"| {term.words} | {DERIVED[term.column] if counter is None else counter.help} |"
    yield from ("", "| | |", "| --- | --- |")
    low = "−∞" if kpi.lowest is None else _shown(kpi.lowest)
    high = "∞" if kpi.highest is None else _shown(kpi.highest)
    yield f"| unit | {kpi.unit} |"
    yield f"| range | {low} to {high} |"
    yield f"| better | {_BETTER[kpi.good]} |"
    yield f"| grows with the window | {'yes' if kpi.grows_with_window else 'no'} |"
    yield f"| beside a benchmark | {_COMPARABLE[kpi.comparable]} |"
    yield f"| bounds | {'none' if kpi.bounds is None else kpi.bounds.name} |"
    yield f"| published source | {kpi.source} |"
    yield from ("", "## Worked examples", "")
    yield from ("| what happened | formula with the numbers put in | value | 95% bounds |",)
    yield "| --- | --- | --- | --- |"
    for example in meaning.examples:
        yield _example(kpi, example)
    yield from _story(kpi)
    yield from ("", "## Bounds", "", _NO_BOUNDS if kpi.bounds is None else kpi.bounds.meaning)
    yield from ("", "## What is left out", "", *(f"- {text}" for text in meaning.left_out))
    yield from ("", "## Events and fields", "", "| event | fields |", "| --- | --- |")
    for kind, fields in meaning.fed_by.items():
        yield f"| `{kind}` | {', '.join(f'`{f}`' for f in fields)} |"
    yield from ("", "Their rules are in [events](../events.md).")
    yield from ("", "## Corrections", "", *(f"- {text}" for text in meaning.corrections), _LATE)
    yield from _gauges(kpi)
    yield from _benchmark(kpi)
    yield from _alert(kpi)


def _example(kpi: Kpi, example: Example) -> str:
    value, lower, upper, *_ = worked(kpi, example.columns)
    text = kpi.formula_with(lambda term: f"{example.columns.get(term.column, 0):,.12g}")
    bounds = "" if lower is None or upper is None else f"{_shown(lower)} to {_shown(upper)}"
    return f"| {example.told} | {text} | {'' if value is None else _shown(value)} | {bounds} |"


def _shown(number: float) -> str:
    """Four significant digits, or more before the point."""
    text = f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"
    return text.replace("-", "−")


def story_lines(kpi: Kpi) -> list[str]:
    """The records of the KPI's story, as they would lie in a file."""
    return [
        json.dumps({"event_id": f"e{number}", **told.event}, ensure_ascii=False)
        for number, told in enumerate(kpi.meaning.story, start=1)
    ]


def story_sample(kpi: Kpi) -> Sample:
    """The KPI's total of an hour at the end of its story, by the core."""
    settings = Settings(rollups=((),))
    at = parse(_STORY_ENDS)
    shard = Shard(settings, Values(settings), event_time=True, until=at)
    refused = shard.ingest(None, [line.encode() for line in story_lines(kpi)])
    if refused:
        raise ValueError(f"{kpi.id}: {refused[0].reason}")
    shard.advance(at)
    shard.fold(at)
    wanted = {"1h": Wanted(frozenset({kpi.id}))}
    found = Evaluator(settings).evaluate([shard.share()], at, wanted).samples
    return next(s for s in found if s.kpi == kpi.id and s.value is not None)


def _story(kpi: Kpi) -> Iterator[str]:
    sample = story_sample(kpi)
    yield from ("", "## A stream, record by record", "", "```json", *story_lines(kpi), "```", "")
    for number, told in enumerate(kpi.meaning.story, start=1):
        yield f"{number}. {told.does}"
    labels = "".join(f" in {value}" for _, value in sample.labels)
    sides = (
        ""
        if sample.numerator is None or sample.denominator is None
        else f", which is {sample.numerator:,g} / {sample.denominator:,g}"
        + (f" · {kpi.scale:g}" if kpi.scale != 1 else "")
    )
    bounds = (
        ""
        if sample.lower is None or sample.upper is None
        else f", with bounds of {_shown(sample.lower)} to {_shown(sample.upper)}"
    )
    yield ""
    yield (
        f"At noon the total of the last hour{labels} is **{_shown(sample.value or 0.0)}**"
        f"{sides}{bounds}. `cxkpi replay FILE --at {_STORY_ENDS}` says the same of a file with"
        " these records."
    )


def _gauges(kpi: Kpi) -> Iterator[str]:
    yield from ("", "## Gauges", "", "| gauge | labels | meaning |", "| --- | --- | --- |")
    for family in kpi_families({kpi.id: kpi}):
        labels = ", ".join(f"`{label}`" for label in family.labels)
        yield f"| `{family.name}` | {labels} | {family.help} |"
    yield ""
    yield (
        "Each series carries the labels of its rollup too, such as `channel`; the total has none of"
        " them. [Metrics](../metrics.md) says more."
    )
    query, text = sum_query(kpi)
    yield from ("", text, "", "```promql", query, "```")


def sum_query(kpi: Kpi) -> tuple[str, str]:
    """PromQL over several series of a KPI, and what it does."""
    chosen = '{window="1h", channel=~"chat|email", region=""}'
    by = f" by ({', '.join(kpi.labels)}) " if kpi.labels else ""
    if kpi.denominator is not None:
        numerator, denominator = gauge_of(kpi, "numerator"), gauge_of(kpi, "denominator")
        scale = f"{kpi.scale:g} * " if kpi.scale != 1 else ""
        query = f"{scale}sum{by}({numerator}{chosen})\n  / sum{by}({denominator}{chosen})"
        return query, (
            "Values of several series are never averaged: a series of few would weigh as much as"
            " one of many. Sum both sides of the fraction instead, here of two channels:"
        )
    if kpi.grows_with_window:
        return f"sum{by}({kpi.gauge}{chosen})", "Several series add up, here of two channels:"
    return f'{kpi.gauge}{{window="1h", channel="", region=""}}', (
        "It has no numerator and denominator, so series can't be added up: for a value over several"
        " of them configure the rollup that holds them together. The total is:"
    )


def benchmark_query(kpi: Kpi) -> str:
    """PromQL for how far the total is from each industry's published figure."""
    currency = ', currency="EUR"' if kpi.labels else ""
    window = "30d" if kpi.comparable == "same window" else "7d"
    total = f'{kpi.gauge}{{window="{window}", channel="", region=""{currency}}}'
    return f'{total}\n  - on () group_right () max by (industry) (cx_benchmark{{kpi="{kpi.id}"}})'


def _benchmark(kpi: Kpi) -> Iterator[str]:
    yield from ("", "## Beside others", "")
    if kpi.comparable == "never":
        yield (
            "Published figures of other companies can't be set beside it: it is an amount or a"
            " count, which says as much of the company's size as of anything else."
        )
        return
    yield (
        "`cx_benchmark` holds published figures of industries, where the configuration names a file"
        " of [benchmarks](../configuration.md#benchmarks)."
        + (
            " The value depends on the window's length, so a figure of a month goes with a window"
            " of 30 days only, which is none of the default ones: list it among your `[[window]]`s,"
            ' with `size = "30d"` and `pane = "3h"`.'
            if kpi.comparable == "same window"
            else ""
        )
        + " How far the total is from each:"
    )
    yield from ("", "```promql", benchmark_query(kpi), "```")


def _alert(kpi: Kpi) -> Iterator[str]:
    side, end = ("above", "High") if kpi.good == "down" else ("below", "Low")
    name = "".join(part.capitalize() for part in kpi.id.split("_")) + end
    bounded = kpi.bounds is not None
    yield from ("", "## Alert", "")
    yield (
        "A rule to start from; the threshold is an example, not a recommendation."
        + (
            " `significant` asks that the whole interval is beyond it, so that few events don't"
            " wake anybody."
            if bounded
            else ""
        )
        + " [Alerts](../alerts.md) says what else a rule can hold."
    )
    yield from ("", "```toml", "[[alert]]", f'name = "{name}"', f'kpi = "{kpi.id}"')
    yield from ('window = "1h"', f"{side} = {kpi.meaning.alert_at}", 'for = "5m"')
    if bounded:
        yield "significant = true"
    yield from (
        'severity = "warning"',
        f'summary = "{kpi.title} is {side} {kpi.meaning.alert_at:g}."',
        "```",
    )
