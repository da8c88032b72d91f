"""The Grafana dashboards, generated from the catalogue of KPIs.

``python -m stream.dashboards`` writes them; nothing of it runs in a worker.
"""
