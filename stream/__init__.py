"""cxkpi: a live monitor of customer-experience KPIs.

The data's way: ``kafka`` fetches chunks of records → ``core`` decodes, validates, remembers and
counts them → ``kafka`` makes state, positions and dead letters durable in one transaction →
``core`` evaluates windows, KPIs and alert rules → ``metrics`` and ``sinks`` tell the world.
``wiring`` ties these together; ``replay`` drives the same core from files.
"""

__version__ = "0.1.0"
