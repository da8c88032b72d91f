"""What makes a sink of each type that ``stream.config.sink_kinds`` has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.sinks.alertmanager import Alertmanager
from stream.sinks.apprise import Apprise
from stream.sinks.log import Log
from stream.sinks.sink import Sink, SinkSettings, UnknownSink
from stream.sinks.slack import Slack
from stream.sinks.webhook import Webhook

#: By the ``type`` of the configuration.
SINKS: Mapping[str, Callable[[SinkSettings], Sink]] = {
    "log": Log,
    "webhook": Webhook,
    "slack": Slack,
    "alertmanager": Alertmanager,
    "apprise": Apprise,
}


def build(settings: SinkSettings) -> Sink:
    """Make the sink that was configured.

    Raises:
        UnknownSink: there is none of the type, or it lacks what it needs.
    """
    make = SINKS.get(settings.type)
    if make is None:
        allowed = ", ".join(SINKS)
        raise UnknownSink(f'sink {settings.name}: type "{settings.type}" is not one of {allowed}')
    return make(settings)
