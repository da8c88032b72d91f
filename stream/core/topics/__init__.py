"""One module per topic: its event types, what is remembered of them, and the KPIs they feed."""
