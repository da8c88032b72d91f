"""Runs a shard over records, as replay and the worker do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream.core.evaluate import Evaluator
from stream.core.series import Sample
from stream.core.settings import Settings, Window
from stream.core.shard import Refusal, Shard
from stream.core.values import Values
from tests.reference.config import Config


def settings_of(config: Config) -> Settings:
    """The core's settings for the reference's configuration."""
    return Settings(
        dimensions=tuple(config["dimensions"]),
        rollups=tuple(tuple(r) for r in config["rollups"]),
        windows=tuple(Window(w, size, pane) for w, (size, pane) in config["windows"].items()),
        dedupe_ms=config["dedupe"],
        max_values_per_dimension=config["max_values_per_dimension"],
        cart_timeout_ms=config["cart_timeout"],
        rapid_response_ms=config["rapid_response"],
        rapid_resolution_ms=config["rapid_resolution"],
        positive_emotions=frozenset(name.casefold() for name in config["positive"]),
        negative_emotions=frozenset(name.casefold() for name in config["negative"]),
        health_weights=dict(config["weights"]),
    )


def new_shard(settings: Settings, values: Values | None = None, until: int | None = None) -> Shard:
    """A shard in event time."""
    return Shard(settings, values or Values(settings), event_time=True, until=until)


def outcomes(records: Sequence[bytes], refusals: Sequence[Refusal]) -> list[Any]:
    """The outcome of every record of a batch."""
    found: list[Any] = ["accepted"] * len(records)
    for refusal in refusals:
        found[refusal.place] = refusal.outcome
    return found


def samples(settings: Settings, shards: Sequence[Shard], at: int) -> list[Sample]:
    """The series of shards together that have a value or a number that is not 0."""
    for shard in shards:
        shard.advance(at)
        shard.fold(at)
    shares = [s.share() for s in shards]
    found = Evaluator(settings).evaluate(shares, at).samples
    return [s for s in found if s.value is not None or s.numerator or s.denominator]
