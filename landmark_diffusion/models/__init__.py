"""Networks: one UNet for every method."""

from landmark_diffusion.models.unet import UNet

__all__ = ["UNet"]
