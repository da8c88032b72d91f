"""The tests of short streams without pytest around them: quicker to start than to run.

Prints the test that fails first, if any does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.fuzz.running import findings
from tests.fuzz.scenario import of_topic, scenario
from tests.reference.events import TOPICS

_FILE = "tests/fuzz/test_scenarios.py"
SHORT = f"{_FILE}::test_the_core_says_of_short_streams_what_the_reference_says"
SCENARIOS = f"{_FILE}::test_the_core_says_of_a_scenario_what_the_reference_says"


def failing(topic: str) -> Iterator[str]:
    """The tests that fail, those of a topic alone where one is given."""
    for seed in range(200):
        for one in [topic] if topic else TOPICS:
            if findings(of_topic(one, seed)):
                yield f"{SHORT}[{one}], seed {seed}"
        if seed < 20 and not topic and findings(scenario(seed)):
            yield f"{SCENARIOS}[0], seed {seed}"


if __name__ == "__main__":
    sys.stdout.write(next(failing(*sys.argv[1:]), ""))
