"""Random draws in columns: a journey asks once for thousands of values, not once per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.generate.profile import CHANNELS, REGIONS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: When it is sent (ms since epoch), topic, key, value.
Record = tuple[int, str, bytes, bytes]

#: The labels of each segment (channel × region) as they are written.
LABELS = [
    [orjson.Fragment(orjson.dumps({"channel": c, "region": r})) for r in REGIONS] for c in CHANNELS
]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Journeys of one kind that begin, as columns of the same length."""

    at: Ints
    channel: Ints
    region: Ints

    def __len__(self) -> int:
        return len(self.at)

    def labels(self) -> list[orjson.Fragment]:
        """The labels {channel, region} of each."""
        return [
            LABELS[c][r] for c, r in zip(self.channel.tolist(), self.region.tolist(), strict=True)
        ]


class Draws:
    """A seeded source of columns."""

    def __init__(self, seed: Sequence[int], customers: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._customers_per_region = max(1, customers // len(REGIONS))

    def hexes(self, n: int, size: int) -> list[str]:
        """``n`` random ids of ``size`` bytes, in hexadecimal."""
        text = self.rng.bytes(n * size).hex()
        step = 2 * size
        return [text[i : i + step] for i in range(0, n * step, step)]

    def customers(self, region: Ints) -> list[str]:
        """A customer of each region; some customers come far more often than others."""
        share = self.rng.random(len(region)) ** 2
        number = (share * self._customers_per_region).astype(np.int64) * len(REGIONS) + region
        return [f"customer-{i:08d}" for i in number.tolist()]

    def chance(self, n: int, share: float | Floats) -> Bools:
        """True with probability ``share``."""
        return self.rng.random(n) < share

    def pick(self, n: int, shares: Sequence[float]) -> Ints:
        """Indices drawn by their shares, which sum to 1."""
        return np.searchsorted(np.cumsum(shares), self.rng.random(n), side="right").clip(
            max=len(shares) - 1
        )


def texts(at: Ints) -> NDArray[np.str_]:
    """Milliseconds since epoch as RFC 3339 without the closing ``Z``, in the same shape."""
    return np.datetime_as_string(at.astype("datetime64[ms]"), unit="ms")


def stamps(at: Ints) -> list[str]:
    """A column of milliseconds since epoch as RFC 3339 in UTC."""
    return [text + "Z" for text in texts(at).tolist()]
