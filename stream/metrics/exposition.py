"""The text that Prometheus reads, made from one view of the worker; and the way back.

This is the only module that knows the Prometheus client library. The library writes and parses the
text. Only the lines of the KPI series, of which there may be tens of thousands, are written here
(its general writer takes ten times as long); a test holds both to the same text.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from stream.core.kpi import Kpi
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.metrics.families import WORKER_FAMILIES, KpiFamily, WorkerFamily, kpi_families
from stream.metrics.label_text import label_text
from stream.metrics.view import Timing, WorkerView

#: The content type of the text.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Label sets whose text is kept between scrapes; beyond that all are written anew.
_MOST_LABEL_SETS = 100_000
#: The library writes smaller numbers as Python does.
_EXPONENT_FROM = 1e6


class WorkerCollector(Collector):
    """Gives the library the metrics of a view that are not KPI series."""

    def __init__(self) -> None:
        self.view = WorkerView()

    def collect(self) -> Iterator[Metric]:
        """The families that have a series in the view."""
        for family in WORKER_FAMILIES:
            metric = _metric(family, self.view)
            if metric.samples:
                yield metric


def _metric(family: WorkerFamily, view: WorkerView) -> Metric:
    # The library wants the name of a counter without its suffix.
    metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
    for labels, value in family.read(view):
        names = dict(labels)
        if isinstance(value, Timing):
            metric.add_sample(f"{family.name}_count", names, value.count)
            metric.add_sample(f"{family.name}_sum", names, value.total)
        elif math.isfinite(value):
            metric.add_sample(family.name, names, value)
    return metric


class Exposition:
    """Writes views as text. The lines of the latest samples are kept for further scrapes."""

    def __init__(self, kpis: Mapping[str, Kpi]) -> None:
        self._families: dict[str, list[KpiFamily]] = defaultdict(list)
        for family in kpi_families(kpis):
            self._families[family.sample].append(family)
        self._collector = WorkerCollector()
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)
        self._label_texts: dict[tuple[str, LabelPairs], str] = {}
        self._latest: tuple[tuple[Sample, ...], bytes] | None = None

    def text(self, view: WorkerView) -> bytes:
        """The exposition of a view in the text format, as UTF-8."""
        return b"".join(self.parts(view))

    def parts(self, view: WorkerView) -> tuple[bytes, bytes]:
        """The same in two: the KPI series, which are one object for one evaluation, and the rest.

        The former may have tens of megabytes, so that to put them together is a copy too many.
        """
        self._collector.view = view
        return self._evaluation_text(view.evaluation), generate_latest(self._registry)

    def _evaluation_text(self, evaluation: Evaluation | None) -> bytes:
        if evaluation is None:
            return b""
        if self._latest is None or self._latest[0] is not evaluation.samples:
            self._latest = (evaluation.samples, self._kpi_text(evaluation.samples))
        return self._latest[1]

    def _kpi_text(self, samples: Iterable[Sample]) -> bytes:
        if len(self._label_texts) > _MOST_LABEL_SETS:
            self._label_texts.clear()
        by_kpi: dict[str, list[tuple[str, Sample]]] = defaultdict(list)
        for sample in samples:
            by_kpi[sample.kpi].append((self._label_text(sample), sample))
        lines: list[str] = []
        for kpi, families in self._families.items():
            labelled = by_kpi.get(kpi)
            if labelled:
                for family in families:
                    lines.extend(_lines(family, labelled))
        return "".join(lines).encode()

    def _label_text(self, sample: Sample) -> str:
        key = (sample.window, sample.labels)
        text = self._label_texts.get(key)
        if text is None:
            text = self._label_texts[key] = label_text(sample.window, sample.labels)
        return text


def _lines(family: KpiFamily, labelled: list[tuple[str, Sample]]) -> list[str]:
    """The family's lines with its heading, or none: a value that is absent has no line."""
    name, part = family.name, family.part
    lines = []
    for labels, sample in labelled:
        value = getattr(sample, part)
        if value is None:
            continue
        if -_EXPONENT_FROM < value < _EXPONENT_FROM:
            lines.append(f"{name}{labels} {float(value)!r}\n")
        elif math.isfinite(value):
            number = floatToGoString(value)  # type: ignore[no-untyped-call]
            lines.append(f"{name}{labels} {number}\n")
    if lines:
        text = family.help.replace("\\", r"\\").replace("\n", r"\n")
        lines.insert(0, f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n")
    return lines


class Scraped(NamedTuple):
    """One series as it was read from a worker."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> Iterator[Scraped]:
    """The series of a text exposition.

    Raises ValueError where the text is not in the Prometheus text format.
    """
    try:
        for metric in text_string_to_metric_families(text):
            for sample in metric.samples:
                yield Scraped(sample.name, sample.labels, sample.value)
    except (ValueError, IndexError, KeyError) as error:  # What the library raises on other texts.
        raise ValueError(f"not a Prometheus text exposition: {error}") from error
