"""Several groups whose dead letters lie in the same topics."""

from __future__ import annotations

import json
from dataclasses import replace

from stream.config import load
from stream.deadletters.letter import REDRIVEN
from tests.deadletters.burying import bury, dlq, ledger_ranges, redriven, sent
from tests.deadletters.letters import visit
from tests.kafka.conftest import Site


def neighbour(site: Site) -> Site:
    """Another group that reads the same topics."""
    group = f"{site.group}-b"
    file = site.file.with_name(f"{group}.toml")
    file.write_text(site.file.read_text().replace(f'"{site.group}"', f'"{group}"'))
    return replace(site, group=group, file=file, config=load(file, {}))


def numbers(site: Site, *more: str) -> list[int]:
    """Which visits the listed letters are of."""
    rows = json.loads(dlq(site, "list", "--json", *more).stdout)
    return [row["source_offset"] for row in rows]


def test_a_group_sends_its_own_letters_alone_so_none_goes_back_once_for_each_group(
    site: Site,
) -> None:
    other = neighbour(site)
    for first in range(0, 40, 10):
        letters = [(0, b"k", visit(n)) for n in range(first, first + 10)]
        bury(site, letters)
        bury(site, letters, group=other.group)
    dry = redriven(site)
    assert (dry["records"], dry["of_other_groups"]) == (40, 40)
    done = redriven(site, "--yes")
    assert (done["records"], done["of_other_groups"], done["left"]["sent_before"]) == (40, 40, 0)
    assert [r.value for r in sent(site)] == [visit(n) for n in range(40)]
    # Letters of another group between ours are no holes in what was sent.
    assert ledger_ranges(site) == 1
    again = dlq(site, "redrive", "--yes")
    assert (again.exit_code, len(sent(site))) == (0, 40)
    assert "40 dead letters of other groups left alone; `cxkpi dlq list" in again.stderr
    assert redriven(other, "--yes", "--limit", "5", expected=1)["records"] == 5
    assert all(r.headers == ((REDRIVEN, b"1"),) for r in sent(site))


def test_letters_that_name_no_group_are_everybodys(site: Site) -> None:
    other = neighbour(site)
    bury(site, [(0, b"k", visit(1))], group="")
    for one in (site, other):
        assert len(numbers(one)) == 1
        assert redriven(one)["records"] == 1
    assert "group" not in dlq(site, "show", "cx.visit/0/0").stdout


def test_a_list_counts_those_of_other_groups_and_shows_them_where_it_is_asked_to(
    site: Site,
) -> None:
    other = neighbour(site)
    bury(site, [(0, b"k", visit(1))])
    bury(site, [(0, b"k", visit(1)), (0, b"k", visit(2))], group=other.group)
    listed = dlq(site, "list")
    assert len(listed.stdout.splitlines()) == 2
    assert listed.stderr.splitlines() == [
        "1 dead letter",
        "2 dead letters of other groups left alone; --all-groups shows them",
    ]
    assert len(numbers(site, "--until", "1h")) == 0
    assert "other groups" not in dlq(site, "list", "--until", "1h").stderr
    counted = dlq(site, "list", "--counts")
    assert counted.stdout.splitlines()[1].split()[0] == "1"
    assert "2 dead letters of other groups" in counted.stderr
    redriven(site, "--yes")
    every = dlq(site, "list", "--all-groups")
    assert every.stderr == "3 dead letters\n"
    lines = every.stdout.splitlines()
    assert "group" in lines[0].split()
    assert [other.group in line for line in lines[1:]] == [False, True, True]
    rows = json.loads(dlq(site, "list", "--all-groups", "--json").stdout)
    assert [row["group"] for row in rows] == [site.group, other.group, other.group]
    assert [row["redriven"] for row in rows] == [True, None, None]


def test_show_names_another_group(site: Site) -> None:
    other = neighbour(site)
    bury(site, [(0, b"k", visit(1))])
    assert "group" not in dlq(site, "show", "cx.visit/0/0").stdout
    assert f"group        {site.group}, another one\n" in dlq(other, "show", "cx.visit/0/0").stdout
