"""What commands that ask a broker let its client say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import click
import pytest
from click.testing import CliRunner

from stream.cli import INTERRUPTED, asking, cli, sending
from stream.cli.failure import CommandFailed
from stream.config import KafkaConfig
from stream.kafka import group_state, renewal
from stream.kafka.connection import BrokerUnreachable
from stream.kafka.letters import LettersUnusable

CLEAR = "Sending username and password in the clear"


@pytest.fixture(autouse=True)
def _speaking() -> None:
    """The client says what it likes, until a command silences it."""
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)


@pytest.mark.parametrize("command", ["check --state", "state show", "state reset --yes"])
def test_what_the_client_logs_does_not_stand_before_the_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def warning(kafka: KafkaConfig) -> object:
        logging.getLogger("aiokafka.conn").warning(CLEAR)
        raise BrokerUnreachable("no Kafka broker answers")

    for module in (group_state, renewal):
        monkeypatch.setattr(module, "administration", warning)
    result = CliRunner().invoke(cli, command.split())
    assert (result.exit_code, result.stderr) == (2, "Error: no Kafka broker answers\n")
    assert CLEAR not in caplog.text


@pytest.mark.parametrize("run", [asking.ask, sending.run])
@pytest.mark.parametrize(
    ("error", "raised"),
    [(LettersUnusable("no topics"), CommandFailed), (KeyError("a mistake"), KeyError)],
)
def test_whatever_was_meant_to_be_told_is_one_line_and_a_mistake_is_none(
    run: Callable[[Coroutine[Any, Any, None]], None],
    error: Exception,
    raised: type[Exception],
) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(raised, match=error.args[0]):
        run(work())


def test_ctrl_c_at_a_question_ends_as_it_does_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> object:
        raise click.Abort

    monkeypatch.setattr(renewal, "administration", asked)
    result = CliRunner().invoke(cli, ["state", "reset"])
    assert (result.exit_code, result.stderr) == (INTERRUPTED, "Interrupted\n")


def test_a_number_without_end_is_no_offset() -> None:
    result = CliRunner().invoke(cli, ["dlq", "show", f"cx.visit/0/{'9' * 5000}"])
    assert result.exit_code == 2
    assert "a dead letter is named TOPIC/PARTITION/OFFSET" in result.stderr
