"""What tests of dead letters on a real broker need."""

from tests.kafka.conftest import site, sites

__all__ = ["site", "sites"]
