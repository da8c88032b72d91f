"""Files of rules: whatever they hold, Prometheus and other readers of YAML read what was meant."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stream.rules.document import AlertingRule, Document, Group, LeftOut, quoted
from stream.rules.promql import number, string
from stream.rules.text import alert_name, literal
from tests.fixtures.prometheus import PrometheusTools

#: Every character but surrogates, which no file can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
RULE = AlertingRule(
    "Low", "up == 0\nor\nabsent(up)", {"severity": "critical"}, {"summary": "It is."}
)


@given(TEXTS)
def test_a_quoted_text_is_read_as_it_is(text: str) -> None:
    assert YAML(typ="safe").load(f"- {quoted(text)}\n") == [text]


@given(text=TEXTS, present=st.booleans())
def test_a_document_is_read_as_it_is(text: str, present: bool) -> None:
    rule = replace(
        RULE,
        alert=text,
        annotations={"summary": text, "description": text} if present else {},
        notes=(text, "and more") if present else (),
        for_="2m" if present else None,
        keep_firing_for=None if present else "3m",
    )
    group = Group(text, (rule, RULE), "5s" if present else None, text)
    left_out = (LeftOut(text, text),)
    for groups in ((), (group, Group("empty", ()))):
        document = Document(groups, text, left_out)
        assert YAML(typ="safe").load(document.yaml()) == {"groups": document.plain()["groups"]}


def test_prometheus_reads_all_characters_that_a_text_can_hold(
    prometheus_tools: PrometheusTools, tmp_path: Path
) -> None:
    odd = "".join(map(chr, [*range(1, 0x180), 0x2028, 0xFEFF, 0x1F600, 0x10FFFF]))
    rule = replace(
        RULE,
        expr=f"up{{job={string(odd)}}} > {number(1e-7)}",
        annotations={"summary": literal(odd + "{{ .Nothing }} {{{ }}")},
    )
    (tmp_path / "rules.yml").write_text(Document((Group("g", (rule,)),)).yaml(), "utf-8")
    series = quoted(f"up{{job={string(odd)}}}")
    summary = quoted(odd + "{{ .Nothing }} {{{ }}")
    (tmp_path / "tests.yml").write_text(
        f"""\
rule_files: [rules.yml]
tests:
  - interval: 1m
    input_series: [{{series: {series}, values: "1"}}]
    alert_rule_test:
      - alertname: Low
        eval_time: 0m
        exp_alerts:
          - exp_labels: {{severity: critical, job: {quoted(odd)}}}
            exp_annotations: {{summary: {summary}}}
""",
        "utf-8",
    )
    done = subprocess.run(
        [prometheus_tools.promtool, "test", "rules", "tests.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("rule", "taken", "name"),
    [
        ("ChurnSpike", [], "ChurnSpike"),
        ("csat low (eu)", [], "CsatLowEu"),
        ("csat-low_2", [], "CsatLow2"),
        ("Kündigungen häufen sich", [], "KundigungenHaufenSich"),
        ("5m spike", [], "Rule5mSpike"),
        ("解約", [], "Rule"),
        ("解約", ["Rule", "Rule2"], "Rule3"),
        ("CSAT low", ["CSATLow"], "CSATLow2"),
    ],
)
def test_names_of_alerts_are_camel_case_and_unique(rule: str, taken: list[str], name: str) -> None:
    assert alert_name(rule, taken) == name


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(value: float) -> None:
    assert float(number(value)) == value
