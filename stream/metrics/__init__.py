"""The worker's metrics: what it shows, the text that Prometheus reads, and the pages that serve it."""
