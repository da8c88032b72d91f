"""Fixtures that every test may use, and what holds of every property."""

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.broker",
    "tests.fixtures.chromium",
    "tests.fixtures.prometheus",
    "tests.fixtures.alertmanager",
    "tests.fixtures.proxy",
]

# A busy machine must fail no test: how long one example takes says nothing about the product.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
