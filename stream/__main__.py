"""``python -m stream``: the same as the command ``cxkpi``."""

from stream.cli import main

if __name__ == "__main__":
    main()
