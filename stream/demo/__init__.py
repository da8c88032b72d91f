"""The demonstration: broker, worker and generator together, for a look at all of it."""
