"""``make faults``: all schedules of faults, and every mistake that they have to find, as tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stream.broker import Broker
from stream.broker.ports import free_port
from tests.faults import alerting, merging
from tests.faults.alerting import FAULTS, Alerting, Fault
from tests.faults.cluster import Cluster, Verdict, site_for
from tests.faults.crashes import LIVES, run
from tests.faults.floods import KINDS, flood
from tests.faults.mutations import MUTATIONS, Mutation, made
from tests.faults.report import crash_row, row, table
from tests.faults.schedule import CASES, NETWORK, Schedule, at_random, outage, rolling, scaled
from tests.fixtures.broker import QUICK
from tests.fixtures.proxy import Proxy, listeners
from tests.kafka import same_as_replay
from tests.kafka.conftest import Sites


def main() -> int:
    """Run what was asked for; 1 where anything was found that should not be, or was not found."""
    given = _arguments()
    rows, wrong = [], list[str]()
    for life, parts in LIVES.items():
        crashes = [run(parts, seed) for seed in range(given.seed, given.seed + given.rounds)]
        rows.append(crash_row(life, crashes))
        wrong += [f"{life}: {f}" for c in crashes for f in c.findings]
    for schedule in _schedules(given):
        if given.only and not schedule.name.startswith(given.only):
            continue
        verdict = _verdict(schedule)
        wrong += [f"{schedule.name}: {finding}" for finding in verdict.findings]
        rows.append(row(verdict))
        _say(f"{schedule.name}: {len(verdict.findings)} differences in {verdict.seconds:.0f} s")
    for kind in KINDS:
        if not given.only or f"flood-{kind}".startswith(given.only):
            verdict = _flooded(kind, given.flood // (2_000 if kind == "large" else 1))
            wrong += [f"{verdict.schedule}: {finding}" for finding in verdict.findings]
            rows.append(row(verdict))
            _say(f"{verdict.schedule}: {len(verdict.findings)} differences")
    if not given.only or "alerts".startswith(given.only):
        verdict = _alerting(FAULTS * max(1, given.rounds // 2), seed=given.seed)
        wrong += [f"alerts: {finding}" for finding in verdict.findings]
        rows.append(row(verdict))
        _say(f"alerts: {len(verdict.findings)} differences in {verdict.seconds:.0f} s")
    _say("\n" + table(rows) + "\n")
    caught = []
    if not given.only or given.only == "mutations":
        for mutation in MUTATIONS:
            findings = _findings(mutation)
            caught.append((mutation.name, mutation.harm, mutation.case, (findings or ["NOT"])[0]))
            wrong += [] if findings else [f"{mutation.name} is not found by {mutation.case}"]
            _say(f"{mutation.name}: {'found' if findings else 'NOT FOUND'} by {mutation.case}")
        _say("\n" + table(caught, ("mistake", "what goes wrong", "case", "first finding")) + "\n")
    for line in wrong:
        _say(line)
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="kill -9 at random [100]")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of all else [10]")
    parser.add_argument("--seed", type=int, default=1, help="the first seed [1]")
    parser.add_argument("--flood", type=int, default=1_000_000, help="records [1000000]")
    parser.add_argument("--only", default="", help="schedules that begin so, or 'mutations'")
    return parser.parse_args()


def _schedules(given: argparse.Namespace) -> Iterator[Schedule]:
    yield from CASES.values()
    for seed in range(given.seed, given.seed + max(1, given.kills // 20)):
        yield at_random(seed, min(20, given.kills))
    yield rolling(given.rounds)
    yield scaled(max(1, given.rounds // 3))
    yield outage("stop", 20.0)
    yield outage("kill", 20.0)
    yield from NETWORK.values()


def _findings(mutation: Mutation) -> list[str]:
    """What the mutation's case finds; a state that falls apart is a finding too."""
    if mutation.case in CASES:
        return _verdict(CASES[mutation.case], mutation.name).findings
    if mutation.case == "alerts":
        return _alerting(("committed", "zombie"), mutation.name).findings
    if mutation.case == "replay":
        return _not_as_replay(mutation.name)
    if mutation.case == "merge":
        with made(mutation):
            return merging.findings((1, 2))
    if mutation.case == "damage":
        return ["tests/faults/test_damage.py"]
    with made(mutation):
        for seed in range(1, 11):
            for life in LIVES.values():
                try:
                    found = run(life, seed).findings
                except (IndexError, KeyError, ValueError) as error:
                    found = [repr(error)]
                if found:
                    return found
    return []


def _not_as_replay(mutation: str) -> list[str]:
    module = ("tests.faults.inject", "--mutation", mutation)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        sites = Sites(Path(folder), stack)
        with Broker(Path(folder) / "broker", overrides=QUICK) as broker:
            site = same_as_replay.site_for(sites, broker.bootstrap)
            try:
                return same_as_replay.findings(site, module)
            except AssertionError as error:
                return [str(error)]


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
            site = site_for(sites, bootstrap, all_rollups=not mutation)
            patience = 20.0 if mutation else 60.0
            return Cluster(site, schedule, mutation, broker, proxy, patience).run()


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
