"""A live view of a worker in the terminal, made from nothing but its ``/metrics`` page."""
