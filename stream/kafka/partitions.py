"""The partition of a key: murmur2, as Kafka's own clients do it, for many keys at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0x9747B28C
_M: Final = np.uint32(0x5BD1E995)
_SIGN: Final = np.uint32(0x7FFFFFFF)


def partitions(keys: Sequence[bytes], count: int) -> NDArray[np.uint32]:
    """The partition of each key on a topic of ``count`` partitions."""
    hashes = np.empty(len(keys), dtype=np.uint32)
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        by_length[len(key)].append(index)
    for length, places in by_length.items():
        joined = b"".join([keys[i] for i in places])
        rows = np.frombuffer(joined, dtype=np.uint8).reshape(len(places), length)
        hashes[places] = _murmur2(rows)
    return (hashes & _SIGN) % np.uint32(count)


def _murmur2(rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The hash of each row; all arithmetic wraps at 32 bits."""
    n, length = rows.shape
    whole = length & ~3
    words = np.ascontiguousarray(rows[:, :whole]).view("<u4").astype(np.uint32)
    h = np.full(n, _SEED ^ length, dtype=np.uint32)
    for column in range(whole // 4):
        k = words[:, column] * _M
        k ^= k >> np.uint32(24)
        k *= _M
        h *= _M
        h ^= k
    rest = rows[:, whole:].astype(np.uint32)
    for place in range(rest.shape[1]):
        h ^= rest[:, place] << np.uint32(8 * place)
    if rest.shape[1]:
        h *= _M
    h ^= h >> np.uint32(13)
    h *= _M
    h ^= h >> np.uint32(15)
    return h
