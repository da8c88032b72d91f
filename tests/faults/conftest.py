"""Sites as the other tests on a real broker have them."""

from tests.kafka.conftest import sites

__all__ = ["sites"]
