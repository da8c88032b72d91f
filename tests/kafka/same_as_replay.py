"""What workers show of a stream of every type, beside what ``cxkpi replay`` says of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stream.core.catalogue import KPIS
from stream.core.series import kpi_of
from stream.core.timestamps import format_ms
from stream.metrics.exposition import Scraped
from stream.metrics.families import kpi_families
from tests.e2e import commands
from tests.faults.compare import Message
from tests.kafka.conftest import Site, Sites
from tests.kafka.every_type import CART_TIMEOUT, KEPT, first_values, records
from tests.kafka.truth import Key, kpi_series, outcomes
from tests.kafka.workers import WorkerProcess

_HEAD = f"max_values_per_dimension = {len(KEPT['channel'])}"
_MORE = f"""
[[window]]
size = "30d"
pane = "6h"
[cart]
timeout = "{CART_TIMEOUT // 1000}s"
[health.weights]
usage = 2.0
noise = 0.0
"""
_FAMILIES = kpi_families(KPIS)
#: Gauge → KPI.
_KPI_OF = {f.name: kpi_of(f.sample) for f in _FAMILIES}
#: How long it may take until what was counted is shown, in seconds.
_PATIENCE = 120.0


class Sent:
    """What was sent so far: to the site's topics, and as a file."""

    def __init__(self, site: Site, file: Path) -> None:
        self._site = site
        self._file = file
        self.count = 0

    def send(self, messages: Sequence[Message]) -> None:
        self._site.send(*messages)
        with self._file.open("ab") as file:
            file.writelines(value + b"\n" for _, _, value in messages)
        self.count += len(messages)

    def replayed(self, at: int) -> tuple[dict[Key, float], dict[str, int]]:
        """The series that ``cxkpi replay`` gives at a time (ms), and the outcomes of all records.

        A KPI without contributions may be left out of its rows.
        """
        ran = commands.run(
            *("replay", self._file, "--config", self._site.file),
            *("--at", format_ms(at), "--json"),
        )
        rows = json.loads(ran.stdout)
        found: dict[Key, float] = {}
        for family in _FAMILIES:
            for row in rows:
                if row["kpi"] == family.sample and row[family.part] is not None:
                    labels = tuple(sorted([("window", row["window"]), *row["labels"].items()]))
                    found[family.name, labels] = row[family.part]
        return found, json.loads(ran.stderr.splitlines()[-1])["outcomes"]


def with_contributions(series: dict[Key, float]) -> dict[Key, float]:
    """Without numerators and denominators that are 0 both."""

    def is_empty(key: Key) -> bool:
        gauge = key[0].removesuffix("_numerator").removesuffix("_denominator")
        parts = [series.get((gauge + part, key[1])) for part in ("", "_numerator", "_denominator")]
        return key[0] != gauge and parts in ([None, 0, 0], [0, 0, None])

    return {key: value for key, value in series.items() if not is_empty(key)}


def evaluated(scraped: Sequence[Scraped]) -> dict[str, int]:
    """The time (ms) that each KPI's series stand for."""
    return {
        s.labels["kpi"]: round(s.value * 1000)
        for s in scraped
        if s.name == "cx_evaluated_timestamp_seconds"
    }


def counted(workers: Sequence[WorkerProcess]) -> Counter[tuple[str, str]]:
    """Records by topic and outcome, as all workers show them together."""
    return outcomes([series for worker in workers for series in worker.scrape()])


def settled(workers: Sequence[WorkerProcess], count: int) -> list[Scraped]:
    """All that the workers show together once every record is in what they show."""

    def shown() -> list[Scraped]:
        return [series for worker in workers for series in worker.scrape()]

    workers[0].until(
        lambda: counted(workers).total() == count, f"counted {count} records", _PATIENCE
    )
    done = time.time_ns() // 10**6
    # A cart is abandoned, and a score told, once nothing older can come; so a moment later.
    workers[0].until(
        lambda: min(evaluated(shown()).values(), default=0) > done + 2_500, "evaluated them"
    )
    while evaluated(found := shown()).keys() != KPIS.keys():
        time.sleep(0.1)
    return found


def compared(workers: Sequence[WorkerProcess], sent: Sent) -> tuple[list[str], dict[Key, float]]:
    """How all that the workers show differs from a replay, to the last bit; and what that says."""
    scraped = settled(workers, sent.count)
    times = evaluated(scraped)
    wanted, counts = dict[Key, float](), dict[str, int]()
    for at in set(times.values()):
        series, counts = sent.replayed(at)
        wanted |= {key: value for key, value in series.items() if times[_KPI_OF[key[0]]] == at}
    shown = kpi_series(scraped)
    names = [s for s in scraped if s.name in _KPI_OF]
    found = with_contributions(shown)
    by_outcome: dict[str, float] = {}
    for (_, outcome), n in outcomes(scraped).items():
        by_outcome[outcome] = by_outcome.get(outcome, 0) + n
    wrong = [f"outcomes are {by_outcome}, not {counts}"] if by_outcome != counts else []
    if len(shown) != len(names):
        wrong.append(f"{len(names) - len(shown)} series are shown by two workers")
    unequal = [k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k)]
    wrong += [f"{k} is {found.get(k)}, not {wanted.get(k)}" for k in sorted(unequal)[:10]]
    return [*wrong, *([f"{len(unequal)} series differ"] if unequal else [])], wanted


def check_that_all_is_there(series: dict[Key, float]) -> None:
    """The stream brings what it is meant to bring."""
    names = {name for name, _ in series}
    assert names == {f.name for f in _FAMILIES}
    by_label: dict[str, set[str]] = {}
    for _, labels in series:
        for name, value in labels:
            by_label.setdefault(name, set()).add(value)
    assert by_label["window"] == {"5m", "1h", "24h", "7d", "30d"}
    assert by_label["currency"] == {"EUR", "USD", "JPY"}
    for dimension, kept in KEPT.items():
        assert by_label[dimension] == {*kept, "other"}


def site_for(sites: Sites, bootstrap: str) -> Site:
    """A site as the stream wants it: with windows of all sizes, and few places for values."""
    return sites(bootstrap, head=_HEAD, more=_MORE)


def is_shared(workers: Sequence[WorkerProcess], site: Site) -> bool:
    """Whether each of the workers has some of the shards, and all are taken."""
    owned = [
        sum(s.value for s in worker.scrape() if s.labels == {"state": "owned"})
        for worker in workers
    ]
    return all(owned) and sum(owned) == site.config.kafka.partitions


def findings(site: Site, module: Sequence[str] = ("stream",)) -> list[str]:
    """What two workers show otherwise than a replay, or one of them after further records."""
    sent = Sent(site, site.folder / "events.jsonl")
    first, second = site.worker(module=module), site.worker(module=module)
    first.until(lambda: is_shared([first, second], site), "shared the work")
    now = time.time_ns() // 10**6
    sent.send(first_values(now))
    first.until(lambda: counted([first, second]).total() == sent.count, "kept the first values")
    sent.send(records(now, 3_000, 1, "one"))
    wrong, said = compared([first, second], sent)
    check_that_all_is_there(said)
    first.terminate()
    second.until(second.ready, "taken over")
    sent.send(records(time.time_ns() // 10**6, 3_000, 2, "two"))
    more, said = compared([second], sent)
    check_that_all_is_there(said)
    return wrong + more
