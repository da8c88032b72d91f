"""``python -m stream.reference``: write the reference pages."""

from __future__ import annotations

import sys
from pathlib import Path

from stream.reference import main

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
