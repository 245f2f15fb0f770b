"""Points to target maps (targets) and maps back to points (decoders)."""

from landmark_diffusion.heatmaps.decoders import DECODERS, decode
from landmark_diffusion.heatmaps.targets import TARGETS, make_target

__all__ = ["DECODERS", "TARGETS", "decode", "make_target"]
