"""What the writers share: words for a place that cannot be written to."""

from landmark_diffusion.files import writing

__all__ = ["writing"]
