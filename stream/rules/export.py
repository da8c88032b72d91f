"""From a configuration to a file of Prometheus rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from stream.config import Config, durations
from stream.core.alerts import RuleSet
from stream.core.settings import DAY, HOUR, MINUTE, SECOND
from stream.rules.document import AlertingRule, Document, Group, LeftOut
from stream.rules.kpis import kpi_rule, obstacle, series_of
from stream.rules.pipeline import PIPELINE, WORKERS_OWN, Facts
from stream.rules.text import alert_name, literal

#: Who evaluates the rules on KPIs: Prometheus, from the gauges; the workers, whose alerts are
#: handed on; or nobody here.
KpiRules = Literal["prometheus", "workers", "none"]
#: The runbook of rules that name none, without its suffix.
KPI_RUNBOOK: Final = "KpiAlert"
#: The range of a silence that is an alert, in ms: there is no topic that an event comes to all the
#: time, and none that is missed for longer than a year.
LEAST_SILENCE: Final = MINUTE
MOST_SILENCE: Final = 366 * DAY

_HEAD: Final = (
    "Written by `cxkpi rules export`: change the configuration and write it anew.\n"
    "Needs Prometheus 2.42 or newer. What the rules mean: docs/rules.md."
)
_KPI_COMMENT: Final = (
    "The rules of the configuration, evaluated by Prometheus from the gauges: the same states as a"
    " worker's, but for what is noted. They look at the alerts as the evaluation before has left"
    " them, so keep the names."
)
_PIPELINE_COMMENT: Final = "Alerts on the pipeline itself."
_WORKERS_COMMENT: Final = "The alerts of the workers' own rules, handed on."


@dataclass(frozen=True, slots=True)
class Options:
    """What the command's options say."""

    #: The job under which Prometheus scrapes the workers.
    job: str = "cxkpi"
    #: Where the runbooks are, a folder or an address; a page is ``<runbooks>/<alert>.md``.
    runbooks: str = "docs/runbooks"
    kpi_rules: KpiRules = "prometheus"
    #: So long without an event of a topic is an alert, in ms.
    silence_ms: int = HOUR

    def page(self, alert: str) -> str:
        """The runbook of an alert, as an annotation holds it."""
        return literal(f"{self.runbooks.rstrip('/')}/{alert}.md")


def exported(config: Config, options: Options = Options()) -> Document:
    """The rules of a configuration and those on the pipeline, as a file of Prometheus rules."""
    left_out: list[LeftOut] = []
    groups = [*_kpi_groups(config, options, left_out), _pipeline(config, options)]
    return Document(tuple(groups), _HEAD, tuple(left_out))


def _facts(config: Config, options: Options) -> Facts:
    return Facts(options.job, config, options.silence_ms / SECOND)


def _pipeline(config: Config, options: Options) -> Group:
    facts = _facts(config, options)
    rules = tuple(alert.rule(facts, options.page(alert.name)) for alert in PIPELINE)
    return Group("cxkpi-pipeline", rules, comment=_PIPELINE_COMMENT)


def _kpi_groups(config: Config, options: Options, left_out: list[LeftOut]) -> Iterator[Group]:
    """The group of the rules on KPIs, where there is one; what can't be in it is noted."""
    interval = durations.label(config.evaluate_ms)
    if options.kpi_rules == "workers":
        handed_on = WORKERS_OWN.rule(_facts(config, options), options.page(WORKERS_OWN.name))
        yield Group("cxkpi-alerts", (handed_on,), comment=_WORKERS_COMMENT)
    elif options.kpi_rules == "prometheus" and config.alerts:
        rules = tuple(_kpi_rules(config, options, left_out))
        yield Group("cxkpi-kpis", rules, interval, _KPI_COMMENT)


def _kpi_rules(config: Config, options: Options, left_out: list[LeftOut]) -> Iterator[AlertingRule]:
    settings = config.core()
    taken = {alert.name for alert in (*PIPELINE, WORKERS_OWN)}
    for prepared in RuleSet.of(settings).rules:
        reason = obstacle(prepared)
        if reason is not None:
            left_out.append(LeftOut(prepared.rule.name, reason))
            continue
        name = alert_name(prepared.rule.name, taken)
        taken.add(name)
        series = series_of(prepared, settings, options.job)
        yield kpi_rule(prepared, series, alert=name, runbook=options.page(KPI_RUNBOOK))
