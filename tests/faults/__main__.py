"""``make faults``: all schedules of faults, and every mistake that they have to find, as tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from stream.broker import Broker
from stream.broker.ports import free_port
from tests.faults import alerting, damage, merging
from tests.faults.alerting import FAULTS, Alerting, Fault
from tests.faults.cluster import Cluster, site_for
from tests.faults.crashes import LIVES, run
from tests.faults.floods import FEWER, KINDS, flood
from tests.faults.mutating import made
from tests.faults.mutations import MUTATIONS, Mutation, named
from tests.faults.report import crash_row, row, table
from tests.faults.schedule import CASES, NETWORK, Schedule, at_random, outage, rolling, scaled
from tests.faults.verdict import FALLEN_APART, STUCK, Verdict, told
from tests.fixtures.broker import QUICK
from tests.fixtures.proxy import Proxy, listeners
from tests.kafka import same_as_replay
from tests.kafka.conftest import Sites

#: Longer than a transaction that nobody ends may stay open, in seconds.
_PATIENCE: Final = 60.0


def main() -> int:
    """Run what was asked for; 1 where anything was found that should not be, or was not found."""
    given = _arguments()
    wrong = [] if given.mutation else _run_all(given)
    if given.mutation or not given.only or given.only == "mutations":
        wrong += _run_mutations(given.mutation or [m.name for m in MUTATIONS])
    for line in wrong:
        _say(line)
    return 1 if wrong else 0


def _run_all(given: argparse.Namespace) -> list[str]:
    """Run what nobody has made a mistake in; what was wrong."""
    rows, wrong = [], list[str]()
    if not given.only or "in process".startswith(given.only):
        for life, parts in LIVES.items():
            crashes = [run(parts, seed) for seed in range(given.seed, given.seed + given.rounds)]
            rows.append(crash_row(life, crashes))
            wrong += [f"{life}: {f}" for c in crashes for f in c.findings]
    for name, judged in _runs(given):
        if name.startswith(given.only):
            verdict = _come_to_an_end(name, judged)
            rows.append(row(verdict))
            wrong += [f"{name}: {w}" for w in verdict.wrong]
            _say(f"{name}: {len(verdict.wrong)} differences in {verdict.seconds:.0f} s")
            for line in verdict.wrong:
                _say(f"  {line}")
    _say("\n" + table(rows) + "\n")
    return wrong


def _run_mutations(names: Sequence[str]) -> list[str]:
    """Make mistakes, one after the other; those that were not found."""
    caught, wrong = [], list[str]()
    for mutation in map(named, names):
        verdict = _come_to_an_end(mutation.case, partial(_mutated, mutation))
        found = verdict.findings
        first = (found or [f"NOT; {w}" for w in verdict.wrong] or ["NOT"])[0]
        caught.append((mutation.name, mutation.harm, mutation.case, first.replace("\n", " ")))
        if not found:
            wrong.append(f"{mutation.name} is not found by {mutation.case}")
        _say(f"{mutation.name}: {'found' if found else 'NOT FOUND'} by {mutation.case}: {first}")
    _say("\n" + table(caught, ("mistake", "what goes wrong", "case", "first finding")) + "\n")
    return wrong


def _come_to_an_end(name: str, run: Callable[[], Verdict]) -> Verdict:
    """What a run says, or that it can't go on, so that the others come to theirs."""
    try:
        return run()
    except STUCK as error:
        return Verdict(name, stuck=[told(error)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kill -9 at random [100]")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of all else [10]")
    parser.add_argument("--seed", type=int, default=1, help="the first seed [1]")
    parser.add_argument("--flood", type=int, default=1_000_000, help="records [1000000]")
    parser.add_argument("--only", default="", help="schedules that begin so, or 'mutations'")
    parser.add_argument(
        "--mutation",
        action="append",
        choices=[m.name for m in MUTATIONS],
        metavar="NAME",
        help="only this mistake; may be given several times",
    )
    return parser.parse_args()


def _runs(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Verdict]]]:
    """All runs on real brokers, by their names."""
    for schedule in _schedules(given):
        yield schedule.name, partial(_verdict, schedule)
    for kind in KINDS:
        yield f"flood-{kind}", partial(_flooded, kind, given.flood // FEWER.get(kind, 1))
    faults = FAULTS * max(1, given.rounds // 2)
    yield "alerts", partial(_alerting, faults, seed=given.seed)


def _schedules(given: argparse.Namespace) -> Iterator[Schedule]:
    yield from CASES.values()
    for seed in range(given.seed, given.seed + max(1, given.kills // 20)):
        yield at_random(seed, min(20, given.kills))
    yield rolling(given.rounds)
    yield scaled(max(1, given.rounds // 3))
    yield outage("stop", 20.0)
    yield outage("kill", 20.0)
    yield from NETWORK.values()


def _mutated(mutation: Mutation) -> Verdict:
    """What the mutation's case makes of it."""
    if mutation.case in CASES:
        return _verdict(CASES[mutation.case], mutation.name)
    if mutation.case == "alerts":
        return _alerting(("committed", "committed", "linger"), mutation.name)
    if mutation.case == "replay":
        return _not_as_replay(mutation.name)
    with made(mutation):
        try:
            found = _IN_PROCESS[mutation.case]()
        except FALLEN_APART as error:
            found = [f"the state falls apart: {error!r}"]
        return Verdict(mutation.case, findings=found)


def _crashed() -> list[str]:
    """What crashes in process bring to light."""
    runs = ((life, seed) for seed in range(1, 11) for life in LIVES.values())
    return next((found for each in runs if (found := run(*each).findings)), [])


#: Cases without a broker.
_IN_PROCESS: Final[Mapping[str, Callable[[], list[str]]]] = {
    "log": _crashed,
    "merge": lambda: merging.findings((1, 2)),
    "damage": damage.findings,
}


def _not_as_replay(mutation: str) -> Verdict:
    module = ("tests.faults.inject", "--mutation", mutation)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        sites = Sites(Path(folder), stack)
        with Broker(Path(folder) / "broker", overrides=QUICK) as broker:
            site = same_as_replay.site_for(sites, broker.bootstrap)
            return Verdict("replay", findings=same_as_replay.findings(site, module))


def _alerting(faults: Sequence[Fault], mutation: str = "", seed: int = 1) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        sites = Sites(Path(folder), stack)
        with Broker(Path(folder) / "broker", overrides=QUICK) as broker:
            return Alerting(alerting.site_for(sites, broker.bootstrap), mutation, seed).run(faults)


def _flooded(kind: str, count: int) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        sites = Sites(Path(folder), stack)
        with _broker(Path(folder) / "broker") as (broker, _):
            return flood(site_for(sites, broker.bootstrap), kind, count)


def _verdict(schedule: Schedule, mutation: str = "") -> Verdict:
    """Run a schedule on a broker of its own, behind a proxy."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        sites = Sites(Path(folder), stack)
        with _broker(Path(folder) / "broker") as (broker, proxy):
            bootstrap = proxy.bootstrap if schedule.behind_proxy else broker.bootstrap
            site = site_for(sites, bootstrap, all_rollups=not mutation, flush=schedule.flush)
            return Cluster(site, schedule, mutation, broker, proxy, _PATIENCE).run()


@contextmanager
def _broker(data: Path) -> Iterator[tuple[Broker, Proxy]]:
    port = free_port()
    with Proxy(free_port(but=port)) as proxy:
        overrides: Mapping[str, object] = {**QUICK, **listeners(port, [(proxy.target, proxy.port)])}
        with Broker(data, port, overrides=overrides) as broker:
            yield broker, proxy


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
