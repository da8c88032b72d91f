"""Fixtures that every test may use, and what holds of every property."""

pytest_plugins = [
    "tests.fixtures.patience",
    "tests.fixtures.ports",
    "tests.fixtures.broker",
    "tests.fixtures.chromium",
    "tests.fixtures.prometheus",
    "tests.fixtures.alertmanager",
    "tests.fixtures.proxy",
]
