"""The reference pages of ``docs/`` that follow from catalogues: ``python -m stream.reference``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from stream.core.catalogue import KPIS
from stream.core.kpi import Kpi
from stream.metrics.families import KpiFamily, families, parts_of
from stream.reference.events_page import events_page
from stream.reference.kpi_pages import NOTE, kpi_page, kpis_page


def metrics_page() -> str:
    """Every metric family of a worker."""
    return "\n".join(_metrics()) + "\n"


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", NOTE, "")
    yield (
        "A worker serves these at `/metrics`. Each series is shown by one worker at a time, so"
        " Prometheus has to scrape all of them; only `cx_benchmark` is shown by every worker: take"
        " `max by (kpi, industry) (cx_benchmark)`."
    )
    found = families(KPIS)
    yield from ("", "## The worker", "", "| metric | type | labels | meaning |")
    yield "| --- | --- | --- | --- |"
    for family in found:
        if not isinstance(family, KpiFamily):
            labels = ", ".join(f"`{label}`" for label in family.labels)
            yield f"| `{family.name}` | {family.kind} | {labels} | {family.help} |"
    yield from ("", "## KPIs", "")
    yield (
        "All but the quantiles are gauges; all are absent without data. A series carries `window`"
        " and the labels of its rollup, no others: the total has none of your dimensions, in PromQL"
        ' `{channel="", region=""}` with the default ones. Name all of them, or you get series of'
        " several rollups, which hold the same events."
    )
    yield from ("", "| gauge | further labels | also | meaning |", "| --- | --- | --- | --- |")
    for kpi in KPIS.values():
        labels = ", ".join(f"`{label}`" for label in kpi.labels)
        meaning = f"[{kpi.title}](kpis/{kpi.id}.md): {kpi.help}"
        yield f"| `{kpi.gauge}` | {labels} | {', '.join(_also(kpi))} | {meaning} |"
    yield from ("", "| also | meaning |", "| --- | --- |", _ALSO, "", _GRAFANA)


_ALSO: Final = """\
| `_lower`, `_upper` | ends of the 95% confidence interval, in gauges of their own: `cx_nps_lower` |
| `_numerator`, `_denominator` | its sides: they add up over series, which the value doesn't |
| quantiles | a summary with the label `quantile`, within 1% of times in whole milliseconds |"""
_GRAFANA: Final = """\
## Grafana

`grafana/dashboards/overview.json` is for the dimensions `channel` and `region`. With others its \
totals would be wrong: write it anew from your configuration and import the file into Grafana. \
(The worker's image can't: that takes what `make setup` installs.)

```console
$ cxkpi dashboard export --config cxkpi.toml --output overview.json
```"""


def _also(kpi: Kpi) -> Iterator[str]:
    """The gauges beside a KPI's value."""
    parts = parts_of(kpi)
    for part in ("lower", "upper", "numerator", "denominator"):
        if part in parts:
            yield f"`_{part}`"
    if kpi.quantile_gauge is not None:
        yield f"quantiles: `{kpi.quantile_gauge}`"


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
