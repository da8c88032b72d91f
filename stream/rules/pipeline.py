"""Alerts on the pipeline itself, as data: what the worker can't say, or nobody would ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stream.config import Config, durations
from stream.core.catalogue import KPIS, TOPICS
from stream.core.settings import HOUR, MINUTE, SECOND
from stream.metrics.scraping import moving
from stream.rules.document import AlertingRule
from stream.rules.promql import number, rose, selector, string, without

#: A topic without events for so long is out of use, in seconds; where it may be silent for longer
#: than half of it, one without events for twice the silence.
_WEEK: Final = 604_800
#: The alert that hands on what workers' own rules say.
HANDED_ON: Final = "CxAlertFiring"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the expressions take from the configuration and the command."""

    job: str
    config: Config
    #: Without an event of a topic for so long, something is wrong; in seconds.
    silence: float

    def of(self, metric: str, **matchers: str) -> str:
        """A metric of the workers."""
        return selector(metric, {"job": self.job, **matchers})

    def rose(self, counter: str, *by: str, **matchers: str) -> str:
        """By how much a counter rose within an hour, in all workers together."""
        return rose(counter, {"job": self.job}, matchers, by, HOUR)


@dataclass(frozen=True, slots=True)
class PipelineAlert:
    """One alert. ``expr`` makes its expression; its runbook page has its name."""

    name: str
    severity: str
    for_: str | None
    summary: str
    description: str
    expr: Callable[[Facts], str]

    def rule(self, facts: Facts, runbook: str) -> AlertingRule:
        """The alerting rule; ``runbook`` is the address of its page."""
        return AlertingRule(
            alert=self.name,
            expr=self.expr(facts),
            for_=self.for_,
            labels={"severity": self.severity} if self.severity else {},
            annotations={
                "summary": self.summary,
                "description": self.description,
                "runbook_url": runbook,
            },
        )


def _down(facts: Facts) -> str:
    up = facts.of("up")
    return f"{up} == 0\nor\nabsent({up})"


def _stale(facts: Facts) -> str:
    metric = "cx_evaluated_timestamp_seconds"
    evaluated = facts.of(metric)
    # The KPIs of a topic are shown together, so that one of each tells of all.
    plain = [kpi for kpi in KPIS.values() if not kpi.labels]
    one_of_each = {topic: next(k.id for k in plain if k.topic == topic) for topic in TOPICS}
    missing = "\n  or\n".join(
        f'  label_replace(absent({facts.of(metric, kpi=kpi)}), "topic", {string(topic)}, "", "")'
        for topic, kpi in one_of_each.items()
    )
    # A worker whose clock was ahead may show what stands for a time that has not come.
    return (
        f"abs(time() - max by (kpi) ({evaluated})) > 60\n"
        f"or\nmax by (topic) (\n{missing}\n) unless on () absent({evaluated})\n"
        f"or\nabsent({evaluated})"
    )


def _lag(facts: Facts) -> str:
    lag = f"sum by (topic) ({facts.of('cx_worker_lag_records')})"
    counted = f"sum by (topic) (rate({facts.of('cx_events_total')}[10m]))"
    # A rate of 0 makes it infinite, also where nothing of a topic was ever counted. A few records
    # are no trouble, however slowly they come.
    return f"{lag} / ({counted} or 0 * {lag}) > 300\nand\n{lag} > 1000"


def _silent(facts: Facts) -> str:
    last = f"max by (topic) ({facts.of('cx_last_event_timestamp_seconds')})"
    # A topic that nobody has used for so long is out of use.
    out_of_use = max(_WEEK, 2 * facts.silence)
    return f"time() - {last} > {number(facts.silence)}\nand\ntime() - {last} < {number(out_of_use)}"


def _dead_letters(facts: Facts) -> str:
    dead = facts.of("cx_worker_dead_letters_total")
    read = facts.of("cx_events_total")
    # The first records of a topic that are read are not in its rate, and all may be refused.
    return (
        f"clamp_max(\n"
        f"  sum by (topic) (rate({dead}[5m]))\n"
        f"  /\n"
        f"  sum by (topic) (rate({read}[5m])),\n"
        f"  1\n"
        f")\n> 0.01"
    )


def _unread(facts: Facts) -> str:
    unread = facts.of("cx_worker_notifications_total", result="unread")
    # A broker that starts anew, or a rebalance, may cost a try or two; of workers that are started
    # again one after the other there are several. A defect costs one each minute.
    return (
        f"increase({unread}[10m]) > 5\n"
        f"and\n"
        f"increase({unread}[5m]) > 0\n"
        f"and\n"
        f"increase({unread}[5m] offset 5m) > 0"
    )


def _flush_failing(facts: Facts) -> str:
    failures = facts.of("cx_worker_flush_failures_total")
    # An outage of a broker costs every shard of the worker one flush, and all of these lie in one
    # of the halves. Those of a shard that is stuck lie in both.
    return (
        f"increase({failures}[10m]) > 3\n"
        f"and\nincrease({failures}[5m]) > 0\n"
        f"and\nincrease({failures}[5m] offset 5m) > 0"
    )


def _skipped(facts: Facts) -> str:
    every = facts.config.evaluate_ms
    skipped = facts.of("cx_worker_rule_evaluations_skipped_total")
    # Where every tenth is left out there is one of these within so long.
    recent = max(5 * MINUTE, 20 * every)

    def skips(over: int) -> str:
        # A topic's rules have one owner, who may change meanwhile.
        return f"sum by (topic) (rate({skipped}[{durations.label(over)}]))"

    return f"{skips(3 * recent)} > {number(SECOND / every / 10)}\nand\n{skips(recent)} > 0"


def _segments(facts: Facts) -> str:
    limit = number(facts.config.max_segments)
    return f"{facts.of('cx_worker_most_segments')} / {limit} > 0.9"


PIPELINE: Final = (
    PipelineAlert(
        "CxWorkerDown",
        "critical",
        "1m",
        "A worker does not answer.",
        "{{ with $labels.instance }}{{ . }} has not answered{{ else }}Prometheus has had no worker"
        " to scrape{{ end }} for a minute.",
        _down,
    ),
    PipelineAlert(
        "CxWorkerNotReady",
        "warning",
        "2m",
        "A worker is alive and not ready.",
        "{{ $labels.instance }} has not been ready for two minutes; its /readyz says why.",
        lambda facts: f"{facts.of('cx_worker_ready')} == 0",
    ),
    PipelineAlert(
        "CxRecoveryTooLong",
        "warning",
        "5m",
        "A worker takes long to recover its state.",
        "{{ $labels.instance }} has been recovering for five minutes; {{ $value }} of its shards"
        " are not there yet.",
        lambda facts: f"{facts.of('cx_worker_shards', state='recovering')} > 0",
    ),
    PipelineAlert(
        "CxKpisStale",
        "critical",
        "2m",
        "KPIs are not evaluated.",
        "{{ with $labels.topic }}The KPIs of {{ . }} have not{{ else }}"
        "{{ with $labels.kpi }}{{ . }} has not{{ else }}No KPI has{{ end }}{{ end }} been evaluated"
        " for the present time for minutes; gauges are absent, old or ahead of it, and no rule on"
        " them changes.",
        _stale,
    ),
    PipelineAlert(
        "CxLagHigh",
        "warning",
        "10m",
        "Events wait too long before they are counted.",
        "At the present pace the records of {{ $labels.topic }} that wait take"
        " {{ $value | humanizeDuration }}; KPIs are behind by as much.",
        _lag,
    ),
    PipelineAlert(
        "CxNoEvents",
        "warning",
        "5m",
        "A topic has had no event for long.",
        "The latest event of {{ $labels.topic }} happened {{ $value | humanizeDuration }} ago.",
        _silent,
    ),
    PipelineAlert(
        "CxDeadLetters",
        "warning",
        "5m",
        "More than 1% of a topic's records are refused.",
        "{{ $value | humanizePercentage }} of the records of {{ $labels.topic }} go to its dead"
        " letters.",
        _dead_letters,
    ),
    PipelineAlert(
        "CxRecordsLost",
        "critical",
        None,
        "Records were deleted before they were read.",
        "{{ $value | humanize }} records of {{ $labels.topic }} were gone when a worker came to"
        " read them; KPIs lack them.",
        lambda facts: f"{facts.rose('cx_worker_gap_records_total', 'topic')} > 0",
    ),
    PipelineAlert(
        "CxFlushFailing",
        "critical",
        "5m",
        "A worker can't make its state durable.",
        "{{ $value | humanize }} flushes of {{ $labels.instance }} have failed within ten minutes;"
        " each costs a recovery, and gauges are absent meanwhile.",
        _flush_failing,
    ),
    PipelineAlert(
        "CxRuleEvaluationsSkipped",
        "warning",
        "10m",
        "Alert rules are not evaluated in time.",
        "More than a tenth of the evaluations of the rules on {{ $labels.topic }} are left out;"
        " what happens meanwhile changes no alert.",
        _skipped,
    ),
    PipelineAlert(
        "CxNotificationsGivenUp",
        "critical",
        None,
        "A notification was given up.",
        "Within an hour {{ $value | humanize }} changes of alerts did not reach the sink"
        " {{ $labels.sink }}; `cxkpi dlq list --topic cx.alert` lists them.",
        lambda facts: (
            f"{facts.rose('cx_worker_notifications_total', 'sink', result='dropped')} > 0"
        ),
    ),
    PipelineAlert(
        "CxAlertsUnread",
        "critical",
        "5m",
        "What a sink is to be told can't be read.",
        "{{ $labels.instance }} fails to read the changes of alerts for the sink"
        " {{ $labels.sink }}; where no other worker does, nobody is told of them by it.",
        _unread,
    ),
    PipelineAlert(
        "CxSegmentsNearLimit",
        "warning",
        "15m",
        "A shard holds nearly as many segments as it may.",
        "A shard of {{ $labels.instance }} holds {{ $value | humanizePercentage }} of"
        " max_segments; further combinations of dimensions are counted as other.",
        _segments,
    ),
    PipelineAlert(
        "CxEntitiesForgotten",
        "warning",
        None,
        "Entities are forgotten before their time.",
        "Within an hour {{ $value | humanize }} {{ $labels.kind }} were forgotten for want of room;"
        " what refers to them is an orphan or counts anew.",
        lambda facts: f"{facts.rose('cx_worker_forgotten_total', 'kind')} > 0",
    ),
    PipelineAlert(
        "CxSharesDamaged",
        "warning",
        "5m",
        "What shards tell of their counters can't be read.",
        "{{ $value | humanize }} records that shards wrote for the KPIs of {{ $labels.topic }}"
        " can't be read; these KPIs are not shown meanwhile.",
        lambda facts: f"max by (topic) ({facts.of('cx_worker_damaged_shares')}) > 0",
    ),
    PipelineAlert(
        "CxBasesRefused",
        "warning",
        None,
        "Bases of active subscriptions find no room.",
        "Within an hour {{ $value | humanize }} bases were not taken since max_segments label sets"
        " are there already; churn, retention and lifetime value go without them.",
        lambda facts: f"{facts.rose('cx_worker_refused_bases_total')} > 0",
    ),
    PipelineAlert(
        "CxSubscriptionsWithoutRoom",
        "warning",
        None,
        "Subscriptions find no room for their labels.",
        "Within an hour {{ $value | humanize }} starts and cancellations were counted in sums since"
        " max_segments label sets are there already; a base of their labels counts beside them, so"
        " that what is active is counted twice.",
        lambda facts: f"{facts.rose('cx_worker_subscriptions_without_room_total')} > 0",
    ),
)

#: Alerts of the workers' own rules, handed on. Prometheus adds nothing to them, also no severity.
WORKERS_OWN: Final = PipelineAlert(
    HANDED_ON,
    "",
    None,
    "A rule on a KPI fires.",
    "{{ $labels.rule }} fires; the reason is in the topic cx.alert and in the worker's log.",
    # While two workers hand over, both may say so; it is one alert.
    lambda facts: f"{without(moving(facts.config.dimensions), facts.of('cx_alert_firing'))} == 1",
)
