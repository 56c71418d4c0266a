"""`python -m engine`: the command line without a window and without Qt."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from engine.cli import main

    sys.exit(main())
