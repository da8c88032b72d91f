"""Makes the mistakes of ``mutations`` in this process.

A mutation replaces a piece of a function's source and swaps the function's code, so everybody who
holds the function runs the changed one. One whose piece is not there exactly once does not apply,
which is an error: a mutation must not fall silent when the product changes.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

from tests.faults.mutations import Mutation


class DoesNotApply(Exception):
    """The source that a mutation changes is not there exactly once."""


def _function(target: str) -> tuple[FunctionType, bool]:
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    found = getattr(found, "__func__", found)
    if not isinstance(found, FunctionType):
        raise DoesNotApply(f"{target} is no function")
    return found, "." in path


def _compiled(function: FunctionType, source: str, in_class: bool) -> CodeType:
    """The code of a function's source; in a class, so that ``super()`` finds it."""
    source = textwrap.dedent(source)
    if in_class:
        source = "class _Of:\n" + textwrap.indent(source, "    ")
    unit = compile("from __future__ import annotations\n" + source, function.__module__, "exec")
    for code in _codes(unit):
        if code.co_name == function.__name__ and code.co_freevars == function.__code__.co_freevars:
            return code
    raise DoesNotApply(f"{function.__qualname__} has other variables around it")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def apply(mutation: Mutation) -> tuple[FunctionType, CodeType]:
    """Make the mistake from now on; the function and the code that it had.

    Raises:
        DoesNotApply: the product's source has changed; so must the mutation.
    """
    function, in_class = _function(mutation.target)
    source = inspect.getsource(function)
    if source.count(mutation.old) != 1:
        raise DoesNotApply(f"{mutation.name}: its source is {source.count(mutation.old)} times"
                           f" in {mutation.target}")  # fmt: skip
    former = function.__code__
    function.__code__ = _compiled(function, source.replace(mutation.old, mutation.new), in_class)
    return function, former


@contextmanager
def made(mutation: Mutation | None) -> Iterator[None]:
    """Make a mistake within the block; none where there is none."""
    if mutation is None:
        yield
        return
    function, former = apply(mutation)
    try:
        yield
    finally:
        function.__code__ = former
