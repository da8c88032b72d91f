"""The mistakes that are made in the core, by what they are about."""

from __future__ import annotations

from typing import Final

from tests.mutants.mistakes.changes import CHANGES, MERGED
from tests.mutants.mistakes.conversations import SURVEYS, TICKETS
from tests.mutants.mistakes.customers import CARTS, HEALTH, SUBSCRIPTIONS
from tests.mutants.mistakes.intake import OUTCOMES, STRAYS, TIME
from tests.mutants.mistakes.mistake import DoesNotApply, Mistake, changed
from tests.mutants.mistakes.sums import BOUNDS, LABELS, SUMS

__all__ = ["MISTAKES", "DoesNotApply", "Mistake", "changed"]

MISTAKES: Final = (
    *TIME,
    *OUTCOMES,
    *STRAYS,
    *SURVEYS,
    *TICKETS,
    *CARTS,
    *SUBSCRIPTIONS,
    *HEALTH,
    *BOUNDS,
    *LABELS,
    *SUMS,
    *CHANGES,
    *MERGED,
)
