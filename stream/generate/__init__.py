"""Producers as of a plausible company: events as a pure function of time, rate and seed."""
