"""What a state's records mean: the settings and counters that they were written with.

The header of a state holds its shape. Where it is not that of today's settings, ``facts`` says what
becomes of everything: one place for what ``cxkpi check`` tells and what a worker does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from stream.core.buckets import BUCKET_RECORDS
from stream.core.catalogue import LAYOUT
from stream.core.durations import label
from stream.core.ends_of_time import BEFORE_ALL
from stream.core.memory import NO_LIMIT
from stream.core.settings import Rule, Settings, Window
from stream.core.tally import Tally
from stream.core.text import printable

Becomes = Literal["kept", "starts empty", "dropped"]
#: So many alerts are named that go by a window.
_NAMED: Final = 3
#: (label, size in ms, pane in ms)
WrittenWindow = tuple[str, int, int]


class Fact(NamedTuple):
    """What becomes of a part of the state: a sentence about ``what``."""

    what: str
    becomes: Becomes
    text: str

    def __str__(self) -> str:
        return f"{self.what}: {self.becomes}; {self.text}"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that a state was written with, as plain data."""

    #: Position, number of positions, and scale or error, by the name of counter or sketch.
    places: dict[str, tuple[int, int, float]]
    windows: tuple[WrittenWindow, ...]
    dimensions: tuple[str, ...]
    rollups: tuple[tuple[str, ...], ...]
    dedupe_ms: int
    max_values_per_dimension: int
    max_segments: int
    cart_timeout_ms: int
    rapid_response_ms: int
    rapid_resolution_ms: int
    positive_emotions: tuple[str, ...]
    negative_emotions: tuple[str, ...]
    health_weights: dict[str, float]
    #: None where the state is of a version that did not tell it.
    max_remembered: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Shape:
        """The shape of a state that is written with these settings."""
        return cls(
            places=LAYOUT.places,
            windows=tuple((w.label, w.size_ms, w.pane_ms) for w in settings.windows),
            dimensions=settings.dimensions,
            rollups=settings.rollups,
            dedupe_ms=settings.dedupe_ms,
            max_values_per_dimension=settings.max_values_per_dimension,
            max_segments=settings.max_segments,
            cart_timeout_ms=settings.cart_timeout_ms,
            rapid_response_ms=settings.rapid_response_ms,
            rapid_resolution_ms=settings.rapid_resolution_ms,
            positive_emotions=tuple(sorted(settings.positive_emotions)),
            negative_emotions=tuple(sorted(settings.negative_emotions)),
            health_weights=dict(settings.health_weights),
            max_remembered=settings.max_remembered,
        )

    def settings(self) -> Settings:
        """The settings, without alert rules."""
        return Settings(
            dimensions=self.dimensions,
            rollups=self.rollups,
            windows=tuple(Window(*w) for w in self.windows),
            dedupe_ms=self.dedupe_ms,
            max_values_per_dimension=self.max_values_per_dimension,
            max_segments=self.max_segments,
            cart_timeout_ms=self.cart_timeout_ms,
            rapid_response_ms=self.rapid_response_ms,
            rapid_resolution_ms=self.rapid_resolution_ms,
            positive_emotions=frozenset(self.positive_emotions),
            negative_emotions=frozenset(self.negative_emotions),
            health_weights=dict(self.health_weights),
            max_remembered=NO_LIMIT if self.max_remembered is None else self.max_remembered,
        )

    def misplaced(self) -> str | None:
        """The counter or sketch that stands elsewhere, or counts otherwise, in this version."""
        return next((n for n, place in self.places.items() if LAYOUT.places.get(n) != place), None)


def sources(
    written: Iterable[Window], windows: Iterable[Window], starts: Mapping[str, int]
) -> dict[str, Window | None]:
    """For each window the written one that holds all that it needs, by label; None: there is none.

    A written window's panes add up to longer ones that are a multiple of them, and a window that is
    at least as long holds everything, save for what happened before the moment (ms) that ``starts``
    has of its label. Its own is preferred, then the one that starts first, then the shortest.
    """
    found: dict[str, Window | None] = {}
    for window in windows:
        fit = [
            w for w in written if w.size_ms >= window.size_ms and window.pane_ms % w.pane_ms == 0
        ]
        own = [w for w in fit if w.label == window.label]
        found[window.label] = min(
            own or fit,
            key=lambda w: (starts.get(w.label, BEFORE_ALL), w.size_ms, w.pane_ms),
            default=None,
        )
    return found


def facts(written: Shape, settings: Settings, starts: Mapping[str, int]) -> tuple[Fact, ...]:
    """What becomes of a state under other settings; nothing where they mean the same.

    ``starts`` says from when on (ms) windows that were new to the state hold what happened.
    """
    now = Shape.of(settings)
    found = (
        *_of_windows(written.settings().windows, settings, starts),
        *_of_dimensions(written.dimensions, now.dimensions),
        *_of_rollups(written, now),
        *_of_limits(written, now),
        *_of_counting(written, now),
    )
    return tuple(Fact(printable(f.what), f.becomes, printable(f.text)) for f in found)


def _of_windows(
    written: Sequence[Window], settings: Settings, starts: Mapping[str, int]
) -> Iterator[Fact]:
    windows, former = settings.windows, {w.label: w for w in written}
    found = sources(written, windows, starts)
    for window in windows:
        what, source = f"window {window.label}", found[window.label]
        own = former.get(window.label)
        pane = label(window.pane_ms)
        if own == window:
            continue
        if source is None and own is not None:
            text = f"panes of {label(own.pane_ms)} can't be made into panes of {pane}"
            text = f"{text}, so it starts empty{_of_rules(settings.rules, window)}"
            yield Fact(what, "dropped", text)
        elif source is None:
            text = f"no window of the state holds what it needs{_of_rules(settings.rules, window)}"
            yield Fact(what, "starts empty", text)
        elif source == own:
            text = f"its panes of {label(own.pane_ms)} are added up to panes of {pane}"
            yield Fact(what, "kept", text)
        else:
            text = f"it is filled from the panes of window {source.label}, as far back as they go"
            yield Fact(what, "kept", text)
    configured = {w.label for w in windows}
    for name in former:
        if name not in configured:
            yield Fact(f"window {name}", "dropped", "it is no longer configured")
    if _memory(written) != _memory(windows):
        text = (
            "answers, carts, cancelled subscriptions and values of dimensions are remembered for"
            f" {label(_memory(windows))} instead of {label(_memory(written))} from now on"
        )
        yield Fact("memory", "kept", text)
    if None in found.values():
        text = "how many were active earlier is known as exactly as the former windows needed it"
        yield Fact("active subscriptions", "kept", text)
    if Tally(written).unit_ms != Tally(windows).unit_ms:
        text = "what came around them stays before or after them as the former panes told it apart"
        yield Fact("bases", "kept", text)


def _of_rules(rules: Iterable[Rule], window: Window) -> str:
    """What becomes of alerts whose window or baseline starts empty."""
    own = [rule for rule in rules if window.label in (rule.window, rule.baseline)]
    waiting = [rule.name for rule in own if rule.min_covered]
    hasty = [rule.name for rule in own if not rule.min_covered]
    text = ""
    if waiting:
        has = "has" if len(waiting) == 1 else "have"
        text += f"; {_alerts(waiting)} {has} no data until min_covered is reached"
    if hasty:
        goes = "goes" if len(hasty) == 1 else "go"
        text += (
            f"; {_alerts(hasty)} {goes} by the little that it holds at first, as min_covered is 0"
        )
    return text


def _alerts(names: Sequence[str]) -> str:
    """Some alerts by their names, of many the first."""
    if len(names) == 1:
        return f"alert {names[0]}"
    if len(names) > _NAMED:
        names = [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return f"alerts {', '.join(names[:-1])} and {names[-1]}"


def _of_dimensions(written: Sequence[str], dimensions: Sequence[str]) -> Iterator[Fact]:
    for name in dimensions:
        if name not in written:
            text = "except the number of active subscriptions, which keep all their labels"
            yield Fact(f"dimension {name}", "starts empty", text)
    for name in written:
        if name not in dimensions:
            text = "counts are added up over its values, and can't be told apart by it again"
            yield Fact(f"dimension {name}", "dropped", text)


def _of_rollups(written: Shape, now: Shape) -> Iterator[Fact]:
    former = {frozenset(r) for r in written.rollups}
    for rollup in now.rollups:
        if frozenset(rollup) in former:
            continue
        new = [d for d in rollup if d not in written.dimensions]
        if new:
            text = f"it has what is counted with {' and '.join(new)} from now on"
            yield Fact(_name(rollup), "starts empty", text)
        else:
            yield Fact(_name(rollup), "kept", "it is there at once, from what was counted")
    current = {frozenset(r) for r in now.rollups}
    for rollup in written.rollups:
        if frozenset(rollup) not in current and set(rollup) <= set(now.dimensions):
            text = "its series are no longer shown, but nothing of them is lost"
            yield Fact(_name(rollup), "kept", text)


def _of_limits(written: Shape, now: Shape) -> Iterator[Fact]:
    if now.dedupe_ms != written.dedupe_ms:
        text = (
            f"ids are remembered for {label(now.dedupe_ms)} instead of"
            f" {label(written.dedupe_ms)}; those that were forgotten stay so"
        )
        yield Fact("dedupe", "kept", text)
    for name in ("max_values_per_dimension", "max_segments"):
        former, limit = getattr(written, name), getattr(now, name)
        if former != limit:
            text = f"{limit} instead of {former}; what has a place of its own keeps it while used"
            if name == "max_segments" and limit > former:
                text += _STAYS_IN_SUMS
            yield Fact(name, "kept", text)
    most, limit = written.max_remembered, now.max_remembered
    if most is not None and limit is not None and most != limit:
        becomes = (
            "what was forgotten stays so"
            if limit > most
            else "what is beyond it is forgotten with the next flush, in parts of up to"
            f" {BUCKET_RECORDS:,}, the oldest first"
        )
        text = f"{limit} instead of {most} of a kind in a shard; {becomes}"
        yield Fact("max_remembered", "kept", text)


def _of_counting(written: Shape, now: Shape) -> Iterator[Fact]:
    if now.cart_timeout_ms != written.cart_timeout_ms:
        text = (
            f"open carts are abandoned {label(now.cart_timeout_ms)} after their last event"
            f" instead of {label(written.cart_timeout_ms)}; what was counted stays counted until"
            " an event of the cart says otherwise"
        )
        yield Fact("cart.timeout", "kept", text)
    for key, name in _THRESHOLDS.items():
        if getattr(now, name) != getattr(written, name):
            text = "events count by it from now on; what was counted before stays as it was"
            yield Fact(key, "kept", text)
    if now.health_weights != written.health_weights:
        text = "the signals that are remembered are weighted anew at once"
        yield Fact("health.weights", "kept", text)


_STAYS_IN_SUMS: Final = (
    "; subscriptions that had no room for their labels stay in sums, beside which their bases"
    " count: after CxSubscriptionsWithoutRoom, `cxkpi state rebuild` parts them"
)
_THRESHOLDS: Mapping[str, str] = {
    "ticket.rapid_response": "rapid_response_ms",
    "ticket.rapid_resolution": "rapid_resolution_ms",
    "emotion.positive": "positive_emotions",
    "emotion.negative": "negative_emotions",
}


def _memory(windows: Sequence[Window]) -> int:
    return Settings(windows=tuple(windows)).memory_ms


def _name(rollup: Sequence[str]) -> str:
    return f"rollup [{', '.join(rollup)}]"
