"""Times that stand before and after all others, in ms or in any longer unit.

Both are written into states, so they stay what they are.
"""

from __future__ import annotations

from typing import Final

BEFORE_ALL: Final = -(1 << 60)
AFTER_ALL: Final = 1 << 60
