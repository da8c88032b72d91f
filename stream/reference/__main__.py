"""``python -m stream.reference``: write the reference pages."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from stream.reference import main

if __name__ == "__main__":
    parser = ArgumentParser("python -m stream.reference", description="Write the reference pages.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"))
    main(parser.parse_args().folder)
