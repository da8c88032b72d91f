"""Every key of the configuration: its type, default and meaning; those of ``[kafka]`` in ``kafka``.

Errors, the reference page and the JSON Schema come from these classes. Durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PrivateAttr, SecretStr

from stream.config import durations
from stream.config.fields import (
    ADDRESS,
    HOST,
    VARIABLE,
    Between,
    Duration,
    FileName,
    Flag,
    Form,
    Number,
    OneLine,
    OneOf,
    ShortLine,
    SnakeCase,
    Text,
    Whole,
)
from stream.config.kafka import KafkaConfig
from stream.config.kpis import kpi_ids, topic_names
from stream.config.sink_kinds import SINK_TYPES
from stream.config.table import Table
from stream.config.units import InUnit
from stream.core.settings import (
    DAY,
    HOUR,
    MIN_SAMPLES,
    MINUTE,
    NEGATIVE_EMOTIONS,
    POSITIVE_EMOTIONS,
    SECOND,
    Rule,
    Settings,
    Window,
)

#: A window has at most so many panes.
MOST_PANES = 240
#: Values of all dimensions together. Where each has 64 characters of four bytes they are 107 MB,
#: which workers tell each other in one transaction, well within the time that it has.
MOST_VALUES = 400_000

_DEFAULTS = Settings()


class Benchmark(NamedTuple):
    """A published figure of an industry for a KPI, in the unit of the KPI's gauge."""

    kpi: str
    industry: str
    value: float
    source: str
    year: int


class HttpConfig(Table):
    """Where `/metrics`, `/healthz` and `/readyz` are served."""

    host: Annotated[Text, HOST] = "127.0.0.1"
    """Address to listen on; `0.0.0.0` or `::` for all."""
    port: Annotated[Whole, Between(0, 65_535)] = 9464
    """Port to listen on; 0 takes a free one."""


class WindowConfig(Table):
    """A sliding window. Without any `[[window]]` there are 5m/5s, 1h/1m, 24h/10m and 7d/1h."""

    size_ms: Annotated[int, Duration(SECOND, 366 * DAY)] = Field(alias="size")
    """Length of the window, a multiple of `pane`, at most 240 panes. The label `window` has one
    form of it, as `check` shows: `60m` is `1h`, `1d` is `24h`."""
    pane_ms: Annotated[int, Duration(SECOND, 366 * DAY)] = Field(alias="pane")
    """Step by which the window moves."""

    @property
    def label(self) -> str:
        """The value of the label ``window``: the size in its largest unit."""
        return durations.label(self.size_ms)


class CartConfig(Table):
    """Carts."""

    timeout_ms: Annotated[int, Duration(1, 365 * DAY)] = Field(
        _DEFAULTS.cart_timeout_ms, alias="timeout"
    )
    """A cart is abandoned so long after its last activity."""


class TicketConfig(Table):
    """Support tickets."""

    rapid_response_ms: Annotated[int, Duration()] = Field(
        _DEFAULTS.rapid_response_ms, alias="rapid_response"
    )
    """A first response within this time is rapid."""
    rapid_resolution_ms: Annotated[int, Duration()] = Field(
        _DEFAULTS.rapid_resolution_ms, alias="rapid_resolution"
    )
    """A resolution within this time is rapid."""


class EmotionConfig(Table):
    """Which emotions count as positive and negative, in either case; others are ignored."""

    positive: tuple[OneLine, ...] = POSITIVE_EMOTIONS
    """Names of positive emotions."""
    negative: tuple[OneLine, ...] = NEGATIVE_EMOTIONS
    """Names of negative emotions."""


class HealthConfig(Table):
    """The health score of customers."""

    weights: dict[
        Annotated[str, Form(r"[^\n]{1,64}", "a signal of 1 to 64 characters")],
        Annotated[Number, Between(0, 1_000_000)],
    ] = Field(default_factory=dict)
    """Weight of each signal, 0 to 1000000, to nine decimals; 1 where not named, 0 leaves it out."""


class DashboardConfig(Table):
    """Where the dashboards are, for the links in alerts."""

    url: Annotated[Text, Form("|" + ADDRESS.pattern, ADDRESS.words)] = ""
    """Address of Grafana, with its path if it has one; without it alerts carry no link."""


class AlertConfig(Table):
    """An alert rule: on a KPI, a threshold (`above` or `below`) or a spike (`baseline`, `factor`);
    or on missing input (`topic` and `absent_for`).
    """

    name: OneLine
    """Name of the rule, unique; the label `rule`."""
    kpi: Annotated[Text, OneOf(kpi_ids, "KPI")] | None = None
    """The KPI that is watched."""
    window_ms: Annotated[int, Duration(SECOND, 366 * DAY)] | None = Field(None, alias="window")
    """Size of the window that is watched, one of the `[[window]]`."""
    topic: Annotated[Text, OneOf(topic_names, "topic")] | None = None
    """In place of a KPI: the topic whose events are missed, without prefix."""
    absent_for_ms: Annotated[int, Duration(SECOND, 366 * DAY)] | None = Field(
        None, alias="absent_for"
    )
    """The alert is on while the topic's latest event is longer ago than this."""
    by: tuple[SnakeCase, ...] = ()
    """A rollup; the rule has one alert for each of its series."""
    above: Annotated[Number, InUnit()] | None = None
    """The alert is on while the value is greater. It is in the unit of the KPI's gauge: a share of
    70% is 0.7, two hours are 7200."""
    below: Annotated[Number, InUnit()] | None = None
    """The alert is on while the value is less; in the same unit."""
    clear: Annotated[Number, InUnit()] | None = None
    """Firing ends when the value is back at this, in the same unit; by default at the threshold."""
    for_ms: Annotated[int, Duration()] = Field(0, alias="for")
    """How long the value must be beyond before the alert fires."""
    keep_firing_for_ms: Annotated[int, Duration()] = Field(0, alias="keep_firing_for")
    """How long the value must be back before the alert is resolved."""
    min_samples: Annotated[Number, Between(0, 10**12)] = MIN_SAMPLES
    """With a denominator less than this there is no data."""
    min_covered: Annotated[Number, Between(0, 1)] = 0.0
    """There is no data before events cover this part of the window and of a spike's baseline, from
    the first event ever counted on, or from where a window began that started empty."""
    significant: Flag = False
    """Whether the whole confidence interval must be beyond."""
    on_no_data: Annotated[Text, OneOf(lambda: ["keep", "resolve"], "choice")] = "keep"
    """Whether no data leaves the state as it is or resolves the alert."""
    baseline_ms: Annotated[int, Duration(SECOND, 366 * DAY)] | None = Field(None, alias="baseline")
    """A longer window whose value is the usual one."""
    factor: Annotated[Number, Between(0.001, 1_000)] | None = None
    """More than 1: a rise beyond factor × the usual value; less than 1: a fall below it."""
    severity: Annotated[Text, ShortLine] = "warning"
    """How bad it is, up to 64 characters, such as `critical`; the label `severity`."""
    max_series: Annotated[Whole, Between(1, 10_000)] = 100
    """How many alerts of the rule can be pending or firing at a time. When more series are beyond,
    one alert more, without labels, says how many and which."""
    summary: Text = ""
    """One sentence for who gets the alert, with fields such as `{value}`: see `docs/alerts.md`. A
    brace that is meant is doubled."""
    runbook_url: Annotated[Text, Form("|" + ADDRESS.pattern, ADDRESS.words)] = ""
    """What to do about it, an address."""


class SinkConfig(Table):
    """Where alerts that fire or are resolved go. Secrets stand in variables or in files."""

    type: Annotated[Text, OneOf(lambda: SINK_TYPES, "type")]
    """The log, a webhook, Slack, Alertmanager's API v2, or through `apprise` everything else."""
    name: OneLine = ""
    """Name in logs, metrics and Kafka, which keeps under it what was told; by default the type,
    numbered from the second on. Name each where there are several of a type."""
    url: SecretStr | None = None
    """Address to post to; for Alertmanager its root. One that holds a secret does not belong here:
    use `url_env` or `url_file`."""
    url_env: Annotated[Text, VARIABLE] | None = None
    """Variable that holds the address."""
    url_file: FileName | None = None
    """File that holds the address."""
    secret_env: Annotated[Text, VARIABLE] | None = None
    """Variable that holds the secret: a webhook's signing key, Alertmanager's bearer token."""
    secret_file: FileName | None = None
    """File that holds the secret."""
    timeout_ms: Annotated[int, Duration(100, 5 * MINUTE)] = Field(5 * SECOND, alias="timeout")
    """How long one try may take."""
    retry_for_ms: Annotated[int, Duration(0, 7 * DAY)] = Field(HOUR, alias="retry_for")
    """How long a change is tried again before it goes to the topic `cx.alert.dlq`."""
    refresh_ms: Annotated[int, Duration(SECOND, HOUR)] = Field(MINUTE, alias="refresh")
    """How often Alertmanager is told again what fires; after four times that it forgets."""

    _url: SecretStr | None = PrivateAttr(None)
    _secret: SecretStr | None = PrivateAttr(None)
    _is_named_by_place: bool = PrivateAttr(False)

    @property
    def is_named_by_place(self) -> bool:
        """Whether the name changes when sinks of the type before it come or go."""
        return self._is_named_by_place

    def hold_place(self) -> None:
        """Keep that the name comes from the place."""
        self._is_named_by_place = True

    def hold(self, kind: Literal["url", "secret"], value: SecretStr | None) -> None:
        """Keep the address or the secret, once it was fetched."""
        if kind == "url":
            self._url = value
        else:
            self._secret = value

    @property
    def endpoint(self) -> SecretStr | None:
        """The address, wherever it came from; None for a log."""
        return self._url

    @property
    def secret(self) -> SecretStr | None:
        """The secret, wherever it came from."""
        return self._secret


class Config(Table):
    """The whole configuration, checked."""

    dimensions: tuple[SnakeCase, ...] = _DEFAULTS.dimensions
    """Labels of events that become labels of gauges. `currency`, `kpi`, `le`, `quantile`, `rule`,
    `severity` and `window` are reserved. With others than the default, write Grafana's dashboard
    anew: see `docs/metrics.md`."""
    rollups: tuple[tuple[SnakeCase, ...], ...] = _DEFAULTS.rollups
    """Sets of dimensions that are kept; `[]` is the total. By default the total, each dimension and
    all dimensions together."""
    dedupe_ms: Annotated[int, Duration(0, 7 * DAY)] = Field(_DEFAULTS.dedupe_ms, alias="dedupe")
    """How long the ids of events are remembered, in event time."""
    evaluate_ms: Annotated[int, Duration(100, HOUR)] = Field(
        _DEFAULTS.evaluate_ms, alias="evaluate"
    )
    """How often alert rules are evaluated; gauges are at most 2 s old."""
    max_values_per_dimension: Annotated[Whole, Between(1, 100_000)] = (
        _DEFAULTS.max_values_per_dimension
    )
    """Further values of a dimension are counted as `other`. All dimensions together may have
    400,000."""
    max_segments: Annotated[Whole, Between(1, 100_000)] = _DEFAULTS.max_segments
    """Most combinations of dimensions' values, and of the currency of an amount, that a shard, that
    is one partition number of all topics, keeps apart; further ones are counted as `other` in every
    dimension."""
    max_remembered: Annotated[Whole, Between(1_000, 100_000_000)] = _DEFAULTS.max_remembered
    """Most entities of a kind (answers, tickets, carts, subscriptions, customers' signals) that a
    shard, that is one partition number of all topics, remembers; beyond, the oldest are forgotten
    before their time and counted in `cx_worker_forgotten_total`."""
    benchmarks: OneLine | None = None
    """File of published figures of industries to set KPIs beside, shown as `cx_benchmark`; its name
    is relative to the folder of the configuration."""
    kafka: KafkaConfig = Field(default_factory=KafkaConfig)
    http: HttpConfig = Field(default_factory=HttpConfig)
    cart: CartConfig = Field(default_factory=CartConfig)
    ticket: TicketConfig = Field(default_factory=TicketConfig)
    emotion: EmotionConfig = Field(default_factory=EmotionConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)
    windows: tuple[WindowConfig, ...] = Field(
        tuple(
            WindowConfig(size=durations.label(w.size_ms), pane=durations.label(w.pane_ms))
            for w in _DEFAULTS.windows
        ),
        alias="window",
    )
    alerts: tuple[AlertConfig, ...] = Field((), alias="alert")
    sinks: tuple[SinkConfig, ...] = Field((), alias="sink")

    _figures: tuple[Benchmark, ...] = PrivateAttr(())
    _strangers: tuple[str, ...] = PrivateAttr(())

    @property
    def figures(self) -> tuple[Benchmark, ...]:
        """What the file of ``benchmarks`` holds."""
        return self._figures

    def hold_figures(self, figures: tuple[Benchmark, ...]) -> None:
        """Keep what the file of ``benchmarks`` holds, once it was read."""
        self._figures = figures

    @property
    def strangers(self) -> tuple[str, ...]:
        """What is to be known of variables that look like the product's and aren't."""
        return self._strangers

    def hold_strangers(self, lines: Iterable[str]) -> None:
        """Keep what is to be known of them, a line each."""
        self._strangers = tuple(lines)

    def core(self) -> Settings:
        """The core's settings, with windows and rules as it knows them."""
        return Settings(
            dimensions=self.dimensions,
            rollups=self.rollups,
            windows=tuple(Window(w.label, w.size_ms, w.pane_ms) for w in self.windows),
            dedupe_ms=self.dedupe_ms,
            evaluate_ms=self.evaluate_ms,
            max_values_per_dimension=self.max_values_per_dimension,
            max_segments=self.max_segments,
            max_remembered=self.max_remembered,
            cart_timeout_ms=self.cart.timeout_ms,
            rapid_response_ms=self.ticket.rapid_response_ms,
            rapid_resolution_ms=self.ticket.rapid_resolution_ms,
            positive_emotions=frozenset(e.casefold() for e in self.emotion.positive),
            negative_emotions=frozenset(e.casefold() for e in self.emotion.negative),
            health_weights=dict(self.health.weights),
            rules=tuple(self._rule(a) for a in self.alerts),
            dashboard_url=self.dashboard.url,
        )

    def _rule(self, alert: AlertConfig) -> Rule:
        if alert.topic is not None:
            return Rule.missing_input(
                alert.name,
                alert.topic,
                alert.absent_for_ms or 0,
                for_ms=alert.for_ms,
                keep_firing_for_ms=alert.keep_firing_for_ms,
                severity=alert.severity,
                summary=alert.summary,
                runbook_url=alert.runbook_url,
            )
        rollup = next((r for r in self.rollups if set(r) == set(alert.by)), alert.by)
        return Rule(
            name=alert.name,
            kpi=alert.kpi or "",
            window=durations.label(alert.window_ms or 0),
            by=rollup,
            above=alert.above,
            below=alert.below,
            clear=alert.clear,
            for_ms=alert.for_ms,
            keep_firing_for_ms=alert.keep_firing_for_ms,
            min_samples=alert.min_samples,
            min_covered=alert.min_covered,
            significant=alert.significant,
            on_no_data="resolve" if alert.on_no_data == "resolve" else "keep",
            baseline=None if alert.baseline_ms is None else durations.label(alert.baseline_ms),
            factor=alert.factor,
            severity=alert.severity,
            summary=alert.summary,
            runbook_url=alert.runbook_url,
            max_series=alert.max_series,
        )
