"""Whether an object has more names than it may have, without reading all that it holds."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stream.core.errors import UNREADABLE


class _Name:
    """Stands for any name, so that no object of them grows."""


class _More(Exception):
    """There are more names."""


_ANY: Final = _Name()


def has_more_names(raw: bytes, most: int) -> bool:
    """Whether a JSON object has more than so many different names: it is read as far as that.

    What is no object, or can't be read so far, has not.
    """
    names: set[str] = set()

    def note(_: type, name: Any) -> _Name:
        names.add(name)
        if len(names) > most:
            raise _More
        return _ANY

    try:
        msgspec.json.decode(raw, type=dict[_Name, msgspec.Raw], dec_hook=note)
    except _More:
        return True
    except UNREADABLE:
        pass
    return False
