"""What the worker costs per event, beside a replay, stock Faust and the bare fetch.

``python -m bench`` starts an Apache Kafka of its own, writes the same generated events once, and
lets every subject read them in turn, round after round. See ``bench/README.md``.
"""
