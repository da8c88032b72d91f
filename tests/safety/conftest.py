"""What tests of safety need: configurations and workers on brokers of any kind."""

from tests.kafka.conftest import sites

__all__ = ["sites"]
