"""How commands end that run until they are told to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """Let the first SIGINT, SIGTERM or SIGHUP be a KeyboardInterrupt; ignore what comes after it.

    Nothing that is ending is to be hurried. Call what it gives to ignore all of them from then on.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else it runs under nohup
        signals.append(signal.SIGHUP)

    def ignore() -> None:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)

    def end(_signal: int, _frame: FrameType | None) -> None:
        ignore()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
