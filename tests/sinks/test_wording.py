"""Numbers as sinks that speak to people tell them."""

import pytest
from msgspec.structs import replace

from stream.core.alerts import Contributor
from stream.sinks.wording import contributors, facts
from tests.sinks.receiver import change


@pytest.mark.parametrize(
    ("kpi", "moved", "said"),
    [
        ("clv", 12_340.0, "+12,340"),
        ("clv", -1_234_567.8, "-1,234,568"),
        ("clv", 0.5, "+0.5"),
        ("csat", -0.031, "-3.1 points"),
        ("art", 1.999, "+2 s"),
        ("art", -90.0, "-1 min 30 s"),
    ],
)
def test_what_moved_a_value_is_told_in_plain_numbers(kpi: str, moved: float, said: str) -> None:
    part = Contributor(
        labels={"region": "eu"}, value=None, before=None, share=None, share_before=None,
        contribution=moved, rate=moved, mix=0.0,
    )  # fmt: skip
    assert contributors(replace(change(), kpi=kpi, contributors=(part,))) == [f"region eu: {said}"]


def test_a_threshold_of_a_time_is_told_to_the_millisecond() -> None:
    told = dict(facts(replace(change(), kpi="art", value=3_724.0, threshold=3_723.5)))
    assert (told["Value"], told["Threshold"]) == ("1 h 2 min", "1 h 2 min 3.5 s")
