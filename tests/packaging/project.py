"""The files of the project that packaging is about."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def pyproject() -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def declared(group: str | None = None) -> list[Requirement]:
    """What the package needs, or what a group of dependencies adds."""
    project = pyproject()
    if group is None:
        return [Requirement(text) for text in project["project"]["dependencies"]]
    found = []
    for entry in project["dependency-groups"][group]:
        if isinstance(entry, str):
            found.append(Requirement(entry))
        else:
            found += declared(entry["include-group"])
    return found


def extras() -> list[Requirement]:
    """What all optional extras add."""
    listed = pyproject()["project"]["optional-dependencies"].values()
    return [Requirement(text) for texts in listed for text in texts]


@dataclass(frozen=True, slots=True)
class Locked:
    """An entry of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        """The one version that it allows."""
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def lock(name: str) -> dict[str, Locked]:
    """The entries of a lock file by normalised name."""
    entries: dict[str, Locked] = {}
    text = (ROOT / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            requirement, *hashes = re.split(r"\s+--hash=", line.split(" #")[0].strip())
            parsed = Requirement(requirement)
            entries[normal(parsed.name)] = Locked(parsed, tuple(hashes))
    return entries


def normal(name: str) -> str:
    """A distribution's name in the form by which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
