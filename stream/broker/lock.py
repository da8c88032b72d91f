"""Make ``kafka.lock.toml`` anew: ``python -m stream.broker.lock``, after a change of version."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import jgo
from jgo.env import LockFile
from jgo.maven import MavenContext

from stream.broker.jars import COORDINATES, LOCK_FILE


def write(lock_file: Path = LOCK_FILE) -> int:
    """Resolve Kafka with all that it needs, write names and SHA-256, return the number of jars."""
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), local_repos=[])
        roots = [context.create_dependency(coordinate) for coordinate in COORDINATES]
        inputs, others = context.resolver.resolve(roots)
        chosen = {
            dependency.artifact.key: dependency
            for dependency in [*inputs, *others]
            if dependency.scope in (None, "compile", "runtime")
        }
        lock = LockFile.from_resolved_dependencies(list(chosen.values()), environment_name="kafka")
        lock.jgo_version = jgo.__version__
        lock.save(lock_file)
        return len(chosen)


if __name__ == "__main__":
    sys.stdout.write(f"{write()} jars locked in {LOCK_FILE}\n")
