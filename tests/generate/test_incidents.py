"""Incidents as they are written on the command line."""

from __future__ import annotations

import numpy as np
import pytest

from stream.core.settings import HOUR, MINUTE, SECOND
from stream.generate.incidents import (
    DEFAULT_DURATION,
    Incident,
    IncidentRefused,
    borders,
    hits,
    parse,
)

NOW = 1_772_445_600_000


@pytest.mark.parametrize(
    ("text", "incident"),
    [
        ("outage", Incident("outage", NOW)),
        ("outage:apac", Incident("outage", NOW, region="apac")),
        ("churn-spike", Incident("churn-spike", NOW, region="eu")),
        ("churn-spike:us@+60s", Incident("churn-spike", NOW + MINUTE, region="us")),
        ("churn-spike@5m", Incident("churn-spike", NOW + 5 * MINUTE, region="eu")),
        ("broken-checkout@-1h/30m", Incident("broken-checkout", NOW - HOUR, 30 * MINUTE)),
        ("outage:eu/90s", Incident("outage", NOW, 90 * SECOND, "eu")),
    ],
)
def test_incidents_are_read(text: str, incident: Incident) -> None:
    assert parse(text, NOW) == incident
    assert incident.duration in (DEFAULT_DURATION, 30 * MINUTE, 90 * SECOND)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not of the form"),
        ("fire", "the kinds are outage, churn-spike, broken-checkout"),
        ("outage:mars", "the regions are eu, us, apac, latam"),
        ("outage@", "is not of the form"),
        ("outage@+1", "is not of the form"),
        ("outage@+1y", "is not of the form"),
        ("outage@+٥s", "is not of the form"),
        ("outage/", "is not of the form"),
        ("outage:eu:us", "is not of the form"),
        ("outage\n", "is not of the form"),
    ],
)
def test_what_is_no_incident_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(IncidentRefused, match=said):
        parse(text, NOW)


def test_an_incident_hits_its_region_from_its_start_until_before_its_end() -> None:
    incidents = [Incident("outage", NOW, 10, "us"), Incident("churn-spike", NOW, 10)]
    at = np.array([NOW - 1, NOW, NOW + 9, NOW + 10, NOW], dtype=np.int64)
    region = np.array([1, 1, 1, 1, 0], dtype=np.int64)
    assert hits(incidents, "outage", at, region).tolist() == [False, True, True, False, False]
    assert hits(incidents, "churn-spike", at, region).tolist() == [False, True, True, False, True]
    assert not hits(incidents, "broken-checkout", at, region).any()
    assert borders(incidents) == [NOW, NOW + 10]
