"""The Grafana dashboards, generated from the catalogue of KPIs.

``python -m stream.dashboards`` writes those of the repository, ``cxkpi dashboard export`` that of
a configuration; nothing of it runs in a worker.
"""
