"""Recorded events: reading them, addressing them, and running them through the core."""
