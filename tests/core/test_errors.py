"""Every error of the product says what becomes of the work."""

import importlib
import pkgutil
from collections.abc import Iterator

import click
import pytest
from aiokafka.errors import KafkaError

import stream
from stream.core.errors import DeadLetterError, DecidedError, RetryError, StopError

DECISIONS = (StopError, RetryError, DeadLetterError)
#: Their decision is that of the library that catches them.
OF_LIBRARIES = (click.ClickException, KafkaError)


def _errors() -> Iterator[type[Exception]]:
    for module in pkgutil.walk_packages(stream.__path__, "stream."):
        if not module.name.endswith("__main__"):
            for thing in vars(importlib.import_module(module.name)).values():
                if isinstance(thing, type) and issubclass(thing, Exception):
                    yield thing


ERRORS = sorted(
    {
        error
        for error in _errors()
        if error.__module__.startswith("stream.")
        and not error.__name__.startswith("_")
        and not issubclass(error, OF_LIBRARIES)
        and not issubclass(DecidedError, error)
        and not error.__subclasses__()
    },
    key=lambda error: error.__name__,
)


def test_errors_are_found() -> None:
    assert len(ERRORS) > 30


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_carries_one_decision(error: type[Exception]) -> None:
    assert sum(issubclass(error, decision) for decision in DECISIONS) == 1
