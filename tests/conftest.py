"""Fixtures that every test may use."""

pytest_plugins = [
    "tests.fixtures.broker",
    "tests.fixtures.chromium",
    "tests.fixtures.prometheus",
    "tests.fixtures.alertmanager",
    "tests.fixtures.proxy",
]
