"""Mistakes in the core, each of which the fast tests have to catch: ``make mutants``."""
