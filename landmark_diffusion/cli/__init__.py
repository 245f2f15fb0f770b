"""The command line: ``ldx fit|validate|test|predict`` through LightningCLI, and the verbs beside it."""

from __future__ import annotations

from landmark_diffusion.cli.entry import main

__all__ = ["main"]
