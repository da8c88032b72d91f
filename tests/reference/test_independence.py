"""The reference has nothing of the product, so that both can't be wrong in the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULES = sorted(
    f"tests.reference.{path.stem}"
    for path in FOLDER.glob("*.py")
    if path.stem != "__init__" and not path.stem.startswith("test_")
)


def test_the_reference_imports_nothing_of_the_product() -> None:
    tell = "import sys; print(sorted({n.split('.')[0] for n in sys.modules}))"
    imports = "; ".join(f"import {module}" for module in MODULES)
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {tell}"],
        cwd=FOLDER.parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "'tests'" in done.stdout
    assert "'stream'" not in done.stdout
    assert "'numpy'" not in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_no_module_of_the_reference_names_one_of_the_product(module: str) -> None:
    source = (FOLDER / f"{module.rsplit('.', 1)[1]}.py").read_text()
    assert "from stream" not in source
    assert "import stream" not in source
