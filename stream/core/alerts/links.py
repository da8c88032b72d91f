"""The link from a change to the dashboard, with window, labels and time set."""

from __future__ import annotations

from typing import Final

from stream.core.alerts.change import Change
from stream.core.alerts.rules import RuleSet
from stream.core.settings import INPUT, MINUTE

#: The uid of the dashboard.
DASHBOARD_UID: Final = "cxkpi-overview"
#: Variables of the dashboard that are of no dimension.
_OWN_VARIABLES: Final = frozenset({"datasource", "industry", "window"})
_OF_DIMENSION: Final = "dimension_"
#: What is shown of the time before an alert at least, in ms.
LEAST_BEFORE_MS: Final = 15 * MINUTE

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def variable_of(dimension: str) -> str:
    """The dashboard's variable for a dimension: its name, unless another variable has that.

    A dimension that is called as another's variable would be is told apart in the same way.
    """
    bare = dimension
    while bare.startswith(_OF_DIMENSION):
        bare = bare.removeprefix(_OF_DIMENSION)
    return f"{_OF_DIMENSION}{dimension}" if bare in _OWN_VARIABLES else dimension


def dashboard_link(rules: RuleSet, change: Change, started: int, now: int) -> str:
    """The dashboard for the change's series; empty where no address is configured.

    It shows the time from a window's length (at least 15 min) before the alert began, at
    ``started``, to the change at ``now`` (ms). Labels that are no dimensions are left out.
    """
    if not rules.dashboard_url:
        return ""
    query = []
    if change.window:
        query.append(("var-window", change.window))
    for name, value in sorted(change.labels.items()):
        if name in rules.dimensions and change.kpi != INPUT:
            query.append((f"var-{variable_of(name)}", value))
    before = max(LEAST_BEFORE_MS, rules.sizes.get(change.window, 0))
    query += [("from", str(started - before)), ("to", str(now))]
    asked = "&".join(f"{name}={escaped(value)}" for name, value in query)
    return f"{rules.dashboard_url.rstrip('/')}/d/{DASHBOARD_UID}?{asked}"


def escaped(text: str) -> str:
    """The text as a part of a query: UTF-8, all but RFC 3986's unreserved characters in percent."""
    data = text.encode("utf-8", errors="replace")
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in data)
