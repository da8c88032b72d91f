"""``cxkpi state``: what is asked before anything is destroyed, and what is printed."""

from __future__ import annotations

import io

import pytest

from stream.cli.state import StateFailed, _confirm, _text


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_the_group_s_name_must_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("cxkpi\n"))
    _confirm("cxkpi", yes=False)
    for answer in ("y\n", "cxkpi2\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        with pytest.raises(StateFailed, match="nothing was done"):
            _confirm("cxkpi", yes=False)


def test_without_a_terminal_only_yes_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("cxkpi\n"))
    with pytest.raises(StateFailed, match="say --yes"):
        _confirm("cxkpi", yes=False)
    _confirm("cxkpi", yes=True)


def test_a_state_that_has_counted_nothing_and_one_that_is_refused_are_told_apart() -> None:
    empty = {
        "partition": 0,
        "refused": None,
        "version": None,
        "size": {"records": 0, "bytes": 0},
    }
    one = {"records": 1, "bytes": 1_000}
    refused = {**empty, "partition": 1, "refused": "it is damaged", "size": one}
    found = {
        "group": "g",
        "topic": "g-state",
        "members": ["cxkpi-worker-a-1 at 10.0.0.1"],
        "unfinished": "reset",
    }
    assert _text({**found, "shards": [empty, refused]}) == (
        "group    g, topic g-state\n"
        "worker   cxkpi-worker-a-1 at 10.0.0.1\n"
        "a reset was begun and not finished: run it again\n"
        "\n"
        "partition 0: 0 records, 0 bytes\n"
        "  empty\n"
        "\n"
        "partition 1: 1 record, 1,000 bytes\n"
        "  can't be used: it is damaged"
    )
