"""The worker's metrics: what it shows, the text that Prometheus reads, and who serves it."""
