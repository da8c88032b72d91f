"""The settings that numbers depend on, as a plain dictionary; times in milliseconds."""

from __future__ import annotations

import tomllib
from typing import Any

Config = dict[str, Any]

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}

DEFAULTS: Config = {
    "dimensions": ["channel", "region"],
    "rollups": [[], ["channel"], ["region"], ["channel", "region"]],
    "windows": {"1h": (HOUR, MINUTE)},
    "dedupe": 10 * MINUTE,
    "max_values_per_dimension": 100,
    "cart_timeout": 30 * MINUTE,
    "rapid_response": 300 * SECOND,
    "rapid_resolution": DAY,
    "positive": ["happy", "pleased", "trusting", "valued"],
    "negative": ["dissatisfied", "frustrated", "disappointed", "irritated"],
    "weights": {},
}


def duration(text: str) -> int:
    """A duration such as ``30m`` in ms."""
    digits = text.rstrip("mshd")
    return int(digits) * _UNITS[text[len(digits) :]]


def from_toml(text: str) -> Config:
    """The dictionary of a configuration file."""
    toml = tomllib.loads(text)
    config = {k: toml.get(k, v) for k, v in DEFAULTS.items()}
    if "dedupe" in toml:
        config["dedupe"] = duration(toml["dedupe"])
    if "window" in toml:
        config["windows"] = {
            w["size"]: (duration(w["size"]), duration(w["pane"])) for w in toml["window"]
        }
    if "timeout" in toml.get("cart", {}):
        config["cart_timeout"] = duration(toml["cart"]["timeout"])
    for name in ("rapid_response", "rapid_resolution"):
        if name in toml.get("ticket", {}):
            config[name] = duration(toml["ticket"][name])
    for name in ("positive", "negative"):
        config[name] = toml.get("emotion", {}).get(name, config[name])
    config["weights"] = toml.get("health", {}).get("weights", {})
    return config


def memory(config: Config) -> int:
    """The longest window, at least 7 days."""
    return int(max(7 * DAY, *(size for size, _ in config["windows"].values())))


def cart_memory(config: Config) -> int:
    """After so long without an event a cart's id is new, but not while the cart may be bought."""
    return max(memory(config), int(config["cart_timeout"]))
