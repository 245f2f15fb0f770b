"""``python -m landmark_diffusion`` is ``ldx``."""

from __future__ import annotations

import sys

from landmark_diffusion.cli import main

if __name__ == "__main__":
    sys.exit(main())
