"""Which options of a method are networks, and what these are by default. Needs no torch."""

from __future__ import annotations

from typing import Any

DEFAULT_NETWORK = "UNet"
"""The class of every method's networks by default, as files name it."""


def is_network(option: str) -> bool:
    """Tell whether an option of a method is a network by its name: ``network``, ``window_network``."""
    return option == "network" or option.endswith("_network")


def unet(**options: Any) -> Any:
    """Describe a UNet with these options, as the default of a method's option ``network``."""
    return {"class_path": "landmark_diffusion.models.unet.UNet", "init_args": options}


PAPER_A = unet()
"""Paper A section 3.1, the UNet's own defaults."""
PAPER_B = unet(
    encoder_channels=[64, 128, 256, 512],
    decoder_channels=[512, 256, 128, 64],
    blocks_per_level=4,
    attention_factors=[8],
)
"""Paper B section 4.2."""
WINDOWS = unet(encoder_channels=[64], decoder_channels=[64], blocks_per_level=1, attention_factors=[], scale_shift=True)
"""The light network that sees windows alone (docs/position_diffusion.md)."""
