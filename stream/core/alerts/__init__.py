"""Alert rules over KPI samples: a pure state machine and what its changes say.

``RuleSet.of`` prepares the configured rules, ``evaluate`` takes all of them one evaluation further,
``step`` does so for one series. States are plain structs that survive any number of restarts.
"""

from stream.core.alerts.change import Change, Contributor, Phase, Rest, Target, Trend, rfc3339
from stream.core.alerts.details import Closer, Details, Look
from stream.core.alerts.evaluate import evaluate
from stream.core.alerts.inputs import with_input
from stream.core.alerts.machine import AlertState, AlertStates, RuleSample, is_watched, step
from stream.core.alerts.measures import measure
from stream.core.alerts.rules import PreparedRule, RuleSet, described, needed, of_family, wanted

__all__ = [
    "AlertState",
    "AlertStates",
    "Change",
    "Closer",
    "Contributor",
    "Details",
    "Look",
    "Phase",
    "PreparedRule",
    "Rest",
    "RuleSample",
    "RuleSet",
    "Target",
    "Trend",
    "described",
    "evaluate",
    "is_watched",
    "measure",
    "needed",
    "of_family",
    "rfc3339",
    "step",
    "wanted",
    "with_input",
]
