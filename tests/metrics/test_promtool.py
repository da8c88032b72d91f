"""Prometheus's own tool on the text of a worker."""

import subprocess
from collections.abc import Callable

import pytest

from stream.core.catalogue import KPIS
from stream.core.series import Evaluation, LabelPairs, Sample
from stream.metrics.exposition import Exposition
from stream.metrics.view import AlertGauge, WorkerView
from tests.fixtures.prometheus import PrometheusTools
from tests.metrics.test_exposition import HOSTILE
from tests.metrics.views import view

Check = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def check(prometheus_tools: PrometheusTools) -> Check:
    def run(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [prometheus_tools.promtool, "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def _hostile() -> WorkerView:
    series: tuple[LabelPairs, ...] = tuple((("channel", text),) for text in HOSTILE)
    return WorkerView(
        evaluation=Evaluation(1, tuple(Sample("csat", "1h", labels, 0.5) for labels in series)),
        alerts=tuple(AlertGauge("A", "warning", labels, firing=True) for labels in series),
    )


@pytest.mark.parametrize(
    "worker",
    [view(KPIS), WorkerView(), _hostile()],
    ids=["all that can be shown", "a worker that starts", "hostile label values"],
)
def test_promtool_finds_nothing(check: Check, worker: WorkerView) -> None:
    done = check(Exposition(KPIS).text(worker).decode())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("TYPE cx_art_quantile_seconds summary", "TYPE cx_art_quantile_seconds gauge"),
        ('channel="chat"', "channel=chat"),
        ("# HELP cx_nps Net", "# HELP cx_nps2 Net"),
    ],
)
def test_promtool_finds_what_is_wrong(check: Check, right: str, wrong: str) -> None:
    text = Exposition(KPIS).text(view(KPIS)).decode()
    assert right in text
    done = check(text.replace(right, wrong))
    assert done.returncode != 0
