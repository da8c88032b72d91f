"""How commands end that run until they are told to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType


def ignore_signals(numbers: Iterable[signal.Signals]) -> None:
    """Have signals do nothing from now on, up to the very end of the process."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """Let the first SIGINT, SIGTERM or SIGHUP be a KeyboardInterrupt; ignore what comes after it.

    Nothing that is ending is to be hurried. Call what it gives to ignore all of them from then on.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it runs under nohup
        signals.append(signal.SIGHUP)

    def ignore() -> None:
        ignore_signals(signals)

    def end(_signal: int, _frame: FrameType | None) -> None:
        ignore()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
