"""The message that Slack gets, within Slack's limits."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.alerts import Change, Contributor, Trend
from stream.sinks.sink import Rejected, Retry, SinkError
from stream.sinks.slack import COLOURS, RESOLVED, Slack, escaped, message
from tests.sinks.receiver import Answer, FakeSettings, Hidden, change, receiver, saying

ENTITY = re.compile("&(amp|lt|gt);")


def full() -> Change:
    return msgspec.structs.replace(
        change(),
        summary="Customers are unhappy",
        runbook_url="https://wiki/csat?a=1|2>3",
        contributors=(Contributor({"channel": "web"}, -0.08, 0.2, 10, 50),),
    )


def texts(part: Any) -> list[str]:
    """All texts of a message."""
    if isinstance(part, dict):
        own = [part["text"]] if isinstance(part.get("text"), str) else []
        return own + [t for value in part.values() for t in texts(value)]
    return [t for value in part for t in texts(value)] if isinstance(part, list) else []


def said(one: Change) -> str:
    return "\n".join(texts(message(one)))


def test_a_message_says_all_that_is_known() -> None:
    text = said(full())
    for part in (
        "[FIRING CsatLow, critical, region eu]",
        "Customers are unhappy",
        "It is worse.",
        "*Value*\n40%",
        "*95% interval*\n30% to 50%",
        "*n*\n100",
        "*Threshold*\n50%",
        "*Since*\n2026-05-04T08:00:00Z",
        "*Moved most by*\n• channel web: -8 points, now 20%",
        "<https://wiki/csat?a=1%7C2%3E3|Runbook>",
        change().id,
    ):
        assert part in text


@pytest.mark.parametrize(("severity", "colour"), [*COLOURS.items(), ("page", COLOURS["warning"])])
def test_the_colour_is_that_of_the_severity(severity: str, colour: str) -> None:
    one = msgspec.structs.replace(change(), severity=severity)
    assert message(one)["attachments"][0]["color"] == colour
    over = msgspec.structs.replace(one, to="resolved")
    assert message(over)["attachments"][0]["color"] == RESOLVED
    assert message(over)["text"].startswith("[RESOLVED CsatLow")


def test_nothing_in_a_label_is_markup() -> None:
    one = msgspec.structs.replace(
        change(explanation="<!channel> & <https://evil|here>"), labels={"region": "<@U123>&"}
    )
    text = said(one)
    assert "<!channel>" not in text
    assert "<https://evil" not in text
    assert "region &lt;@U123&gt;&amp;" in text
    assert "&lt;!channel&gt; &amp; &lt;https://evil|here&gt;" in text


@given(st.text(alphabet="a<>&é\n", max_size=60), st.integers(2, 40))
def test_a_text_that_is_cut_has_no_broken_entity(text: str, most: int) -> None:
    cut = escaped(text, most)
    assert len(cut) <= most
    assert "&" not in ENTITY.sub("", cut)
    whole = escaped(text, 10_000)
    assert cut == whole or (cut.endswith("…") and whole.startswith(cut[:-1]))


def test_the_longest_change_stays_within_the_limits() -> None:
    parts = tuple(
        Contributor({f"d{n}_{m}": "<" * 64 for m in range(16)}, 0.1, 0.2, 1, 2) for n in range(9)
    )
    one = msgspec.structs.replace(
        full(),
        rule="&" * 1_000,
        labels={f"l{n}": ">" * 64 for n in range(16)},
        summary="<" * 9_000,
        explanation="&" * 9_000,
        runbook_url="https://wiki/" + "x" * 5_000,
        contributors=parts,
    )
    sent = message(one)
    assert len(sent["text"]) <= 4_000
    blocks = sent["attachments"][0]["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        assert len(block.get("fields", [])) <= 10
        assert len(block["text"]["text"] if "text" in block else "") <= 3_000
        assert all(len(f["text"]) <= 2_000 for f in block.get("fields", []))
    assert "Runbook: its address is too long" in said(one)


async def failure(answer: Answer) -> SinkError:
    async with receiver([answer]) as it:
        sink = Slack(FakeSettings("slack", Hidden(it.url)))
        with pytest.raises(SinkError) as caught:
            await sink.deliver(change())
        await sink.close()
    return caught.value


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "channel_not_found"),
        (404, "no_service"),
        (410, "channel_is_archived"),
    ],
)
async def test_what_slack_refuses_is_refused_in_its_words(code: int, text: str) -> None:
    error = await failure(saying(code, text))
    assert isinstance(error, Rejected)
    assert str(error) == f"answer {code} ({text})"


async def test_slack_that_is_overrun_says_how_long_to_wait() -> None:
    error = await failure(saying(429, "rate_limited", Retry_After="30"))
    assert isinstance(error, Retry)
    assert (str(error), error.after) == ("answer 429 (rate_limited)", 30)


async def test_words_that_are_not_slacks_are_not_repeated() -> None:
    error = await failure(saying(404, "no /hook/s3cret-path here"))
    assert str(error) == "answer 404"


async def test_the_message_is_sent_as_json() -> None:
    async with receiver() as it:
        sink = Slack(FakeSettings("slack", Hidden(it.url)))
        await sink.deliver(full())
        await sink.close()
    assert json.loads(it.bodies[0]) == message(full())
    assert it.headers[0]["Content-Type"].startswith("application/json")


def test_what_is_usual_and_where_it_is_going_is_said_with_a_link_to_look() -> None:
    one = msgspec.structs.replace(
        change(),
        baseline=0.8,
        baseline_window="24h",
        trend=Trend("falling", -0.2, "1m15s"),
        contributors=(Contributor({"channel": "web"}, -0.4, 0.1, 10, 50, before=0.9),),
        dashboard_url="http://grafana/d/cxkpi?from=1&to=2",
    )
    text = said(one)
    for part in (
        "*Usually*\n80% (over 24h)",
        "*Trend*\nfalling, in the last 1m15s",
        "channel web: -40 points, now 10%, usually 90%",
        "<http://grafana/d/cxkpi?from=1&to=2|Dashboard>",
    ):
        assert part in text


def test_missing_input_is_told_in_time() -> None:
    one = msgspec.structs.replace(
        change(), kpi="input", window="", value=900.0, threshold=600.0, lower=None, upper=None
    )
    text = said(one)
    assert "*KPI*\nTime without an event" in text
    assert "*Value*\n15 min" in text
    assert "*Threshold*\n10 min" in text
