"""Which dead letters may be sent again, and what became of all that were looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from stream.core.decode import Decoder
from stream.core.event import Invalid
from stream.core.intake import future
from stream.deadletters.letter import Letter
from stream.deadletters.listing import Counts, Group
from stream.sizes import batch_bytes

Verdict = Literal[
    "send", "sent before", "refused", "rounds", "too large", "no topic", "no partition", "left out"
]

#: Why letters are left, as it is printed.
LEFT: Final[Mapping[Verdict, str]] = {
    "sent before": "sent again before",
    "refused": "would be refused again",
    "rounds": "sent again too often already",
    "too large": "larger than the topic takes now",
    "no topic": "whose topic is not there",
    "no partition": "of a partition that the topic does not have",
    "left out": "which their letters do not hold",
}
#: How often a record is sent again before it is left to somebody who mends it.
MOST_ROUNDS: Final = 3
#: Of records that were left out of their letters so many are named; all are counted.
_MOST_NAMED: Final = 1_000


class Target(NamedTuple):
    """A source topic as it is: how many partitions, and the largest record batch in bytes."""

    partitions: int
    limit: int


class Judged(NamedTuple):
    """A letter and what is to become of it; ``again`` says why it would be refused today."""

    letter: Letter
    verdict: Verdict
    again: Group | None = None


class Judge:
    """Decides on the letters of one topic."""

    def __init__(
        self,
        topic: str,
        target: Target,
        was_sent: Callable[[Letter], bool],
        *,
        most_rounds: int = MOST_ROUNDS,
        even_if_refused: bool = False,
    ) -> None:
        self._target = target
        self._was_sent = was_sent
        self._most_rounds = most_rounds
        self._even_if_refused = even_if_refused
        self._decode = Decoder(topic).decode

    def judge(self, letters: Sequence[Letter], now: int) -> list[Judged]:
        """What is to become of letters at the time ``now`` (ms), in their order."""
        verdicts = [self._without_a_look(letter) for letter in letters]
        again: dict[int, Group] = {}
        if not self._even_if_refused:
            open_ones = [i for i, verdict in enumerate(verdicts) if verdict == "send"]
            again = self._refused_again(letters, open_ones, now)
        return [
            Judged(letter, "refused" if i in again else verdict, again.get(i))
            for i, (letter, verdict) in enumerate(zip(letters, verdicts, strict=True))
        ]

    def _without_a_look(self, letter: Letter) -> Verdict:
        if self._was_sent(letter):
            return "sent before"
        if letter.left_out:
            # What would be sent is an empty record.
            return "left out"
        if not self._target.partitions:
            return "no topic"
        if letter.target >= self._target.partitions:
            return "no partition"
        if letter.rounds >= self._most_rounds:
            return "rounds"
        return "too large" if size(letter) > self._target.limit else "send"

    def _refused_again(
        self, letters: Sequence[Letter], places: Sequence[int], now: int
    ) -> dict[int, Group]:
        """Those of ``places`` that today's rules refuse. Orphans can't be told: memory decides."""
        events, times, *_ = self._decode([letters[i].value for i in places])
        found: dict[int, Group] = {}
        for place, event, at in zip(places, events, times, strict=True):
            topic = letters[place].topic
            if isinstance(event, Invalid):
                found[place] = Group(topic, "invalid", event.path, event.reason)
            elif (refusal := future(at, now)) is not None:
                found[place] = Group(topic, *refusal)
        return found


def size(letter: Letter) -> int:
    """How many bytes the record takes when it is sent again, generously."""
    return batch_bytes(letter.key, letter.value, letter.headers_again())


@dataclass(slots=True)
class Report:
    """What became of the letters that were asked for."""

    #: How many were sent (or would be), by source topic and partition.
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    #: How many were left, by source topic and reason.
    left: Counter[tuple[str, Verdict]] = field(default_factory=Counter)
    #: Why records would be refused again.
    refused: Counts = field(default_factory=Counts)
    #: The letters without their records, and where those lie: the first ones.
    left_out: list[tuple[str, str]] = field(default_factory=list)
    #: How many letters of other groups there were, which theirs are to send.
    others: int = 0
    #: Whether the end was reached; else a limit or a signal ended it before.
    complete: bool = True

    def add(self, judged: Judged) -> None:
        """Take in a letter that is not (only) to be sent."""
        letter = judged.letter
        if judged.verdict == "send":
            self.sent[letter.topic, letter.target] += 1
            return
        self.left[letter.topic, judged.verdict] += 1
        if judged.again is not None:
            self.refused.count(judged.again, letter.at)
        if judged.verdict == "left out" and len(self.left_out) < _MOST_NAMED:
            self.left_out.append((letter.name, letter.source))

    @property
    def has_findings(self) -> bool:
        """Whether letters were left that nobody has sent, be it that a limit ended it before."""
        return not self.complete or any(
            self.left_by(verdict) for verdict in LEFT if verdict != "sent before"
        )

    def left_by(self, verdict: Verdict) -> int:
        """How many letters were left for this reason, of all topics."""
        return sum(n for (_, why), n in self.left.items() if why == verdict)

    def as_dict(self, *, executed: bool) -> dict[str, Any]:
        """For JSON."""
        return {
            "executed": executed,
            "records": self.sent.total(),
            "to": [
                {"topic": topic, "partition": partition, "records": n}
                for (topic, partition), n in sorted(self.sent.items())
            ],
            "left": {v.replace(" ", "_"): self.left_by(v) for v in LEFT},
            "left_by_topic": [
                {"topic": topic, "reason": verdict.replace(" ", "_"), "records": n}
                for (topic, verdict), n in sorted(self.left.items())
            ],
            "refused": self.refused.rows(),
            "left_out": [{"letter": name, "source": source} for name, source in self.left_out],
            "of_other_groups": self.others,
            "complete": self.complete,
        }
