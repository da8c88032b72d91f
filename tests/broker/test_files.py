"""Small things about files: Java properties and the line of a log that tells most."""

from __future__ import annotations

import pytest

from stream.broker.folder import telling_line
from stream.broker.properties import text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/data/plain", "/data/plain"),
        ("C:\\data", "C:\\\\data"),
        ("two\nlines", "two\\nlines"),
        ("Größe", "Gr\\u00f6\\u00dfe"),
        ("🙂", "\\ud83d\\ude42"),
    ],
)
def test_a_value_is_written_as_java_reads_it(value: str, written: str) -> None:
    assert text({"key": value}) == f"key={written}\n"


@pytest.mark.parametrize(
    ("log", "jvm", "line"),
    [
        ("", "", ""),
        ("INFO one\nINFO two\n", "", "INFO two"),
        ("INFO one\nERROR two\nINFO three\n", "", "ERROR two"),
        ("INFO one\n", "Error: no such option\n", "Error: no such option"),
        ("ERROR of Kafka\n", "Error: of Java\n", "ERROR of Kafka"),
        ("FATAL one\njava.io.IOException: why\n\tat x\n", "", "java.io.IOException: why"),
        ("ERROR one\n\tat Exception\nCaused by: SomeException\n\n", "", "ERROR one"),
    ],
)
def test_the_line_that_tells_most_is_found(log: str, jvm: str, line: str) -> None:
    assert telling_line(log, jvm) == line
