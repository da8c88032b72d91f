"""The page on security says the numbers that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from stream.config import Config, durations
from stream.config.fields import Between, Duration

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
FIXED = re.findall(r"^\| [^|]+ \| (\d+) \| `(stream\.[\w.]+)` \|$", PAGE, re.MULTILINE)
KEYS = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| [^|]+ \|$", PAGE, re.MULTILINE)


def found(path: str) -> float:
    """A constant of a module."""
    module, name = path.rsplit(".", 1)
    return float(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(("number", "path"), FIXED, ids=[path for _, path in FIXED])
def test_a_limit_is_that_of_the_code(number: str, path: str) -> None:
    assert found(path) == float(number)


@pytest.mark.parametrize(("key", "default", "largest"), KEYS, ids=[key for key, *_ in KEYS])
def test_a_limit_of_the_configuration_is_that_of_the_model(
    key: str, default: str, largest: str
) -> None:
    field = next(f for n, f in Config.model_fields.items() if key in (n, f.alias))
    (marker,) = (m for m in field.metadata if isinstance(m, Between | Duration))
    if isinstance(marker, Duration):
        assert (default, largest) == (durations.label(field.default), durations.label(marker.high))
    else:
        assert (default, largest) == (str(field.default), str(int(marker.high)))


def test_the_tables_were_found() -> None:
    assert (len(FIXED), len(KEYS)) == (43, 4)
