"""What came of a run: what was found, and apart from it whether the run came to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from aiokafka.errors import KafkaError

from stream.broker.errors import BrokerError
from stream.kafka.producer import NotDelivered

#: What says that a run can't go on, which tells nothing of what is there.
STUCK: Final = (AssertionError, OSError, BrokerError, KafkaError, NotDelivered)
#: What a state raises that falls apart, which a worker would not survive: a finding.
FALLEN_APART: Final = (IndexError, KeyError, ValueError)


def told(error: BaseException) -> str:
    """What was raised, in a line that is not too long."""
    return f"{type(error).__name__}: {str(error)[:600]}"


@dataclass
class Verdict:
    """What a run did, what was compared, and what was wrong."""

    schedule: str
    faults: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    events: int = 0
    series: int = 0
    letters: int = 0
    scrapes: int = 0
    step_back: float = 0.0
    recoveries: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: What is there and should not be, or the other way round: totals, series, dead letters,
    #: changes, a state that can't be read.
    findings: list[str] = field(default_factory=list)
    #: What did not come true as long as one waited. It says nothing of what is there, so it is no
    #: proof that a mistake is found.
    stuck: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """All that must not be where nobody makes a mistake."""
        return [*self.findings, *(f"stuck: {s}" for s in self.stuck)]
