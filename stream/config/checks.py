"""Rules between keys; those of a single key stand in the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from stream.config import durations
from stream.config.alerts import alert_findings
from stream.config.errors import Path, rollup, shown
from stream.config.fields import ADDRESS, is_address
from stream.config.kafka import KafkaConfig
from stream.config.model import MOST_PANES, MOST_VALUES, AlertConfig, Config, SinkConfig
from stream.config.sinks import contradictions
from stream.core.labels import MAX_ENTRIES
from stream.core.settings import RESERVED_LABELS

#: Where, and what is wrong there.
Finding = tuple[Path, str]


def findings(config: Config) -> Iterator[Finding]:
    """Yield every contradiction between keys."""
    yield from _dimensions(config)
    yield from _windows(config)
    yield from _emotions(config)
    yield from _kafka(config.kafka)
    yield from _dashboard(config.dashboard.url)
    for index, alert in enumerate(config.alerts):
        for key, message in alert_findings(config, alert):
            yield ("alert", index, *filter(None, [key])), message
    for index, sink in enumerate(config.sinks):
        for key, message in contradictions(sink):
            yield ("sink", index, key), message
    tables: dict[str, Sequence[AlertConfig | SinkConfig]] = {
        "alert": config.alerts,
        "sink": config.sinks,
    }
    for key, table in tables.items():
        for index in _repeated([entry.name for entry in table]):
            yield (key, index, "name"), f"{shown(table[index].name)} is another {key}'s name"


def _dimensions(config: Config) -> Iterator[Finding]:
    for index, name in enumerate(config.dimensions):
        if name in RESERVED_LABELS:
            reserved = ", ".join(sorted(RESERVED_LABELS))
            yield ("dimensions", index), f"{shown(name)} is reserved; reserved are: {reserved}"
    if len(config.dimensions) > MAX_ENTRIES:
        yield ("dimensions",), f"must have at most {MAX_ENTRIES} entries: no event has more labels"
    elif config.max_values_per_dimension * len(config.dimensions) > MOST_VALUES:
        message = (
            f"{config.max_values_per_dimension} for each of {len(config.dimensions)} dimensions are"
            f" more than {MOST_VALUES} together; allowed: 1 to"
            f" {MOST_VALUES // len(config.dimensions)}"
        )
        yield ("max_values_per_dimension",), message
    for index in _repeated(config.dimensions):
        yield ("dimensions", index), f"{shown(config.dimensions[index])} stands there twice"
    for index, names in enumerate(config.rollups):
        for place, name in enumerate(names):
            if name not in config.dimensions:
                allowed = ", ".join(config.dimensions) or "none"
                message = f"{shown(name)} is not one of the dimensions; allowed: {allowed}"
                yield ("rollups", index, place), message
        for place in _repeated(names):
            yield ("rollups", index, place), f"{shown(names[place])} stands there twice"
    for index in _repeated([tuple(sorted(r)) for r in config.rollups]):
        yield ("rollups", index), f"{rollup(config.rollups[index])} stands there twice"
    if not config.rollups:
        yield ("rollups",), "must have at least one entry; [] is the total"


def _windows(config: Config) -> Iterator[Finding]:
    if not config.windows:
        yield ("window",), "must have at least one entry; leave it out for the default windows"
    for index, window in enumerate(config.windows):
        size, pane = durations.label(window.size_ms), durations.label(window.pane_ms)
        if window.size_ms % window.pane_ms:
            yield ("window", index, "size"), f"{size} is not a multiple of the pane {pane}"
        elif window.size_ms // window.pane_ms > MOST_PANES:
            shortest = durations.label(-(-window.size_ms // MOST_PANES))
            many = window.size_ms // window.pane_ms
            message = (
                f"{size} has {many} panes of {pane}; allowed: {MOST_PANES}, from {shortest} on"
            )
            yield ("window", index, "pane"), message
    for index in _repeated([w.size_ms for w in config.windows]):
        label = config.windows[index].label
        yield ("window", index, "size"), f"there is another window of {label}"


def _emotions(config: Config) -> Iterator[Finding]:
    positive = {e.casefold() for e in config.emotion.positive}
    for index, name in enumerate(config.emotion.negative):
        if name.casefold() in positive:
            yield ("emotion", "negative", index), f"{shown(name)} is a positive emotion too"


def _kafka(kafka: KafkaConfig) -> Iterator[Finding]:
    protocol = kafka.security_protocol
    for key in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(kafka, key) is not None and not kafka.uses_tls:
            yield (
                ("kafka", key),
                f"has no effect with security_protocol {protocol}; use SSL or SASL_SSL",
            )
    if kafka.ssl_keyfile is not None and kafka.ssl_certfile is None:
        yield ("kafka", "ssl_keyfile"), "needs ssl_certfile"
    for key in ("sasl_username", "sasl_password_file"):
        if getattr(kafka, key) is not None and not kafka.uses_sasl:
            yield (
                ("kafka", key),
                f"has no effect with security_protocol {protocol}; use SASL_SSL or SASL_PLAINTEXT",
            )
    if kafka.uses_sasl and kafka.sasl_username is None:
        yield ("kafka", "sasl_username"), f"is missing; {protocol} needs it"
    if kafka.flush_ms * 2 > kafka.transaction_timeout_ms:
        if "flush_ms" in kafka.model_fields_set:
            yield ("kafka", "flush"), "must be at most half of transaction_timeout"
        else:
            least = f"must be at least twice flush ({durations.label(kafka.flush_ms)})"
            yield ("kafka", "transaction_timeout"), least


def _dashboard(url: str) -> Iterator[Finding]:
    if not url:
        return
    if not is_address(url):
        yield ("dashboard", "url"), f"must be {ADDRESS.words}"
    elif "@" in urlsplit(url).netloc:
        yield ("dashboard", "url"), "a password does not belong in the file, nor in a link"
    elif "?" in url or "#" in url:
        yield ("dashboard", "url"), "must be the address of Grafana itself, without ? and #"


def _repeated(values: Sequence[object]) -> list[int]:
    """The positions of values that stood there before."""
    seen: Counter[object] = Counter()
    places: list[int] = []
    for index, value in enumerate(values):
        if seen[value]:
            places.append(index)
        seen[value] += 1
    return places
