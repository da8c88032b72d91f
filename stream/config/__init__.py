"""The configuration: one TOML file, overridden by the environment, checked before anything runs."""

from stream.config.errors import ConfigError, Problem
from stream.config.kafka import KafkaConfig
from stream.config.loading import DEFAULT_FILE, load
from stream.config.model import (
    AlertConfig,
    Benchmark,
    Config,
    HttpConfig,
    SinkConfig,
    WindowConfig,
)

__all__ = [
    "DEFAULT_FILE",
    "AlertConfig",
    "Benchmark",
    "Config",
    "ConfigError",
    "HttpConfig",
    "KafkaConfig",
    "Problem",
    "SinkConfig",
    "WindowConfig",
    "load",
]
