"""The lock files pin what pyproject.toml allows, with hashes and without addresses."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.project import ROOT, declared, extras, lock, normal

RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
#: The generator of dashboards is run by developers; its output is in the repository.
DEVELOPERS_ONLY = {"grafana-foundation-sdk"}


@pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
def test_every_entry_has_one_version_and_hashes(name: str) -> None:
    entries = lock(name)
    assert len(entries) > 40
    for entry in entries.values():
        assert re.fullmatch(r"[0-9][0-9a-z.+]*", entry.version), entry
        assert entry.hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in entry.hashes), entry


@pytest.mark.parametrize("name", [RUNTIME, DEVELOPMENT])
def test_a_lock_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"://|--[a-z-]*(?:index|links|host)[a-z-]*", text) == []


@pytest.mark.parametrize(
    ("name", "required"),
    [
        (RUNTIME, declared() + declared("build")),
        (DEVELOPMENT, declared() + declared("dev")),
    ],
    ids=[RUNTIME, DEVELOPMENT],
)
def test_a_lock_fits_what_is_declared(name: str, required: list[Requirement]) -> None:
    entries = lock(name)
    for requirement in required:
        entry = entries[normal(requirement.name)]
        assert requirement.specifier.contains(entry.version, prereleases=True), requirement


def test_developers_have_the_versions_that_users_have() -> None:
    development = lock(DEVELOPMENT)
    for name, entry in lock(RUNTIME).items():
        assert development[name] == entry


def test_extras_are_tested_in_the_versions_that_they_allow() -> None:
    development = {r.name: r.specifier for r in declared("dev")}
    runtime = lock(RUNTIME)
    assert extras()
    for extra in extras():
        assert development[extra.name] == extra.specifier
        assert normal(extra.name) not in runtime, "who does not ask for it does not get it"


def test_what_rests_on_internals_is_pinned_exactly() -> None:
    exact = {r.name: str(r.specifier) for r in declared() if str(r.specifier).startswith("==")}
    assert exact == {"faust-streaming": "==0.15.3", "aiokafka": "==0.14.0"}


def imported(folder: Path) -> dict[str, set[str]]:
    """The third-party distributions that a folder's modules import, and where."""
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top not in {"stream", "tests", "bench"}:
                    for distribution in providers.get(top, [top]):
                        found.setdefault(normal(distribution), set()).add(str(path))
    return found


#: Distributions whose modules another one's public interface consists of.
COMES_WITH = {"pydantic-core": "pydantic", "mode-streaming": "faust-streaming"}


@pytest.mark.parametrize(
    ("folder", "groups"), [("stream", [None]), ("tests", [None, "dev"])], ids=["stream", "tests"]
)
def test_what_is_imported_is_declared(folder: str, groups: list[str | None]) -> None:
    names = {normal(r.name) for group in groups for r in declared(group)}
    names |= {normal(r.name) for r in extras()}
    names |= DEVELOPERS_ONLY | {own for own, with_ in COMES_WITH.items() if with_ in names}
    missing = {name: at for name, at in imported(ROOT / folder).items() if name not in names}
    assert missing == {}
