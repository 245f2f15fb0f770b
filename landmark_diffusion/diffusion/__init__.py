"""Diffusion on tensors: schedules, the forward process, samplers and the shrinking blur. Knows no network, no data."""

from landmark_diffusion.diffusion.noise_schedule import NoiseSchedule

__all__ = ["NoiseSchedule"]
