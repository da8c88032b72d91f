"""Incidents that can be switched on: what they are, when they last, and whom they hit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stream.config import durations
from stream.core.errors import StopError
from stream.core.settings import MINUTE
from stream.generate.profile import REGIONS

IncidentKind = Literal["outage", "churn-spike", "broken-checkout"]
KINDS: tuple[IncidentKind, ...] = get_args(IncidentKind)

#: How long an incident lasts where nothing else is said.
DEFAULT_DURATION = 10 * MINUTE
#: The region that a churn spike hits where none is named: it is an incident of one region.
DEFAULT_CHURN_REGION = "eu"

_FORM = re.compile(
    rf"(?P<kind>[a-z-]+)(?::(?P<region>[a-z]+))?"
    rf"(?:@(?P<offset>[+-]?{durations.WRITTEN}))?(?:/(?P<duration>{durations.WRITTEN}))?"
)


class IncidentRefused(StopError, ValueError):
    """An incident can't be read; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident from ``start`` (ms since epoch) for ``duration`` ms, in one region or in all.

    ``outage`` lowers every survey answer, doubles resolution times and brings more tickets;
    ``churn-spike`` multiplies the cancellations; ``broken-checkout`` lets almost no cart be bought.
    """

    kind: IncidentKind
    start: int
    duration: int = DEFAULT_DURATION
    region: str | None = None

    @property
    def end(self) -> int:
        """The first millisecond after the incident."""
        return self.start + self.duration


def parse(text: str, now: int) -> Incident:
    """Read ``KIND[:REGION][@OFFSET][/DURATION]``, such as ``churn-spike:eu@+60s/10m``.

    ``OFFSET`` counts from ``now`` (ms since epoch) and may be negative; without one the incident
    starts at ``now``. Raises :class:`IncidentRefused`.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise IncidentRefused(
            f"incident {text!r} is not of the form KIND[:REGION][@+OFFSET][/DURATION], "
            "such as churn-spike:eu@+60s/10m"
        )
    kind = next((k for k in KINDS if k == found["kind"]), None)
    if kind is None:
        raise IncidentRefused(f"incident {text!r}: the kinds are {', '.join(KINDS)}")
    region = found["region"]
    if region is None and kind == "churn-spike":
        region = DEFAULT_CHURN_REGION
    if region is not None and region not in REGIONS:
        raise IncidentRefused(f"incident {text!r}: the regions are {', '.join(REGIONS)}")
    offset, duration = found["offset"] or "+0s", found["duration"]
    return Incident(
        kind,
        now + (-1 if offset[0] == "-" else 1) * durations.parse(offset.lstrip("+-")),
        durations.parse(duration) if duration else DEFAULT_DURATION,
        region,
    )


def hits(
    incidents: Sequence[Incident],
    kind: IncidentKind,
    at: NDArray[np.int64],
    region: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether an incident of that kind hits, for each pair of time and index of the region."""
    struck = np.zeros(len(at), dtype=np.bool_)
    for incident in incidents:
        if incident.kind == kind:
            here = (at >= incident.start) & (at < incident.end)
            if incident.region is not None:
                here &= region == REGIONS.index(incident.region)
            struck |= here
    return struck


def borders(incidents: Iterable[Incident]) -> list[int]:
    """The times at which an incident starts or ends, in order."""
    return sorted({at for i in incidents for at in (i.start, i.end)})
