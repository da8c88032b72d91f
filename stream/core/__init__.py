"""The pure core: events in, counters kept, KPIs and alert changes out.

Nothing here does I/O, reads a clock, the environment or a configuration file, or logs. Time is an
argument, in whole milliseconds since the Unix epoch (``*_ms`` or ``at``).
"""
