"""The reference pages of ``docs/`` that follow from catalogues: ``python -m stream.reference``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from stream.core.catalogue import KPIS
from stream.metrics.families import KpiFamily, families
from stream.reference.events_page import events_page
from stream.reference.kpi_pages import NOTE, kpi_page, kpis_page


def metrics_page() -> str:
    """Every metric family of a worker."""
    return "\n".join(_metrics()) + "\n"


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", NOTE, "")
    yield (
        "A worker serves these at `/metrics`. A KPI's series carry `window` and the labels of their"
        " rollup, no others: the total has neither `channel` nor `region`. To sum over shares or"
        " make ratios of your own, use `_numerator` and `_denominator`. A series is shown by one"
        " worker at a time, but for `cx_benchmark`, which every worker shows: take"
        " `max by (kpi, industry) (cx_benchmark)`."
    )
    found = families(KPIS)
    for title, wanted in (("KPIs", True), ("The worker", False)):
        yield from ("", f"## {title}", "", "| metric | type | labels | meaning |")
        yield "| --- | --- | --- | --- |"
        for family in found:
            if isinstance(family, KpiFamily) == wanted:
                labels = ", ".join(f"`{label}`" for label in family.labels)
                yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "events.md": events_page,
    "kpis.md": kpis_page,
    "metrics.md": metrics_page,
    **{f"kpis/{kpi.id}.md": partial(kpi_page, kpi) for kpi in KPIS.values()},
}


def main(folder: Path) -> None:
    """Write all pages."""
    (folder / "kpis").mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page())
