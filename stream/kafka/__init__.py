"""Everything that talks to Kafka: the Faust app, its transport, and the transactions."""
