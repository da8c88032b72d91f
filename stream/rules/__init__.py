"""Prometheus rules: those of the configuration, and alerts on the pipeline itself.

``exported`` makes the file of a configuration. Nothing here talks to Prometheus.
"""

from stream.rules.document import AlertingRule, Document, Group, LeftOut
from stream.rules.export import Options, exported

__all__ = ["AlertingRule", "Document", "Group", "LeftOut", "Options", "exported"]
