"""Faults on purpose: schedules of them against real workers, and mutations that they must catch."""
