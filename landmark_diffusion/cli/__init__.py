"""The command line: ``ldx fit|validate|test|predict`` through LightningCLI, and the verbs beside it."""

from __future__ import annotations

import sys

from landmark_diffusion.core.signals import one_interrupt

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run ``ldx`` as ``cli.entry.main`` does, and take Ctrl-C from here on: while that is being imported too."""
    with one_interrupt(ends=argv is None):
        try:
            from landmark_diffusion.cli.entry import main as run
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return run(argv)
