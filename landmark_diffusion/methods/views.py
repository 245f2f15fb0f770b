"""Views: two looks at one radiograph that a network is to recognise as the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.heatmaps.blur import gaussian_blur

GREATEST_BLUR = 2 / 256
"""Standard deviation of the strongest blur, px of the view, as a share of the image's width."""
RATIO = 4 / 3
"""A crop's sides are at most this much out of proportion, as usual for such views."""


@dataclass(frozen=True)
class Views:
    """How a view is drawn: a crop that is resized, mirrored, changed in grey, blurred, solarised.

    Args:
        crop: smallest and largest share of the image's area.
        turn: degrees to either side, at most.
        mirror: share of the views that are mirrored.
        brightness, contrast: largest change of each, as a share.
        blur: share of the views that are blurred, by up to 2 px in 256 px of the image's width.
        solarise: share of the views whose bright grey levels are inverted, from a drawn level on.

    Raises UserError for values that make no sense.
    """

    crop: tuple[float, float] = (0.3, 1.0)
    turn: float = 0.0
    mirror: float = 0.5
    brightness: float = 0.4
    contrast: float = 0.4
    blur: float = 0.5
    solarise: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise UserError(f"model.views.crop: found {list(self.crop)}, expected two rising shares above 0, at most 1")
        if not 0 <= self.turn <= 180:
            raise UserError(f"model.views.turn: found {self.turn}, expected degrees from 0 to 180")
        for name in ("mirror", "brightness", "contrast", "blur", "solarise"):
            if not 0 <= (found := getattr(self, name)) <= 1:
                raise UserError(f"model.views.{name}: found {found}, expected a share from 0 to 1")

    def draw(
        self, image: torch.Tensor, size: tuple[int, int] | None = None, crop: tuple[float, float] | None = None
    ) -> torch.Tensor:
        """Draw a view of each image (B, 1, H, W) in [0, 1]: (B, 1, h, w) in [0, 1], of ``size`` (h, w) or the image's.

        ``crop`` takes the place of the option's. All is drawn from torch's own random state.
        """
        view = self._cropped(image, size or (image.shape[-2], image.shape[-1]), crop or self.crop)
        return self._solarised(self._blurred(self._regraded(view), image.shape[-1] * GREATEST_BLUR)).clamp(0, 1)

    def _cropped(self, image: torch.Tensor, size: tuple[int, int], crop: tuple[float, float]) -> torch.Tensor:
        height, width = image.shape[-2:]
        side, angle = uniform(image, *crop).sqrt(), uniform(image, -1, 1) * math.radians(self.turn)
        ratio = torch.exp(uniform(image, -1, 1) * math.log(RATIO) / 2).clamp(side, 1 / side)  # no wider than the image
        x, y = side * ratio, side / ratio
        middle_x, middle_y = uniform(image, -1, 1) * (1 - x), uniform(image, -1, 1) * (1 - y)
        x_signed = torch.where(uniform(image, 0, 1) < self.mirror, -x, x)
        cos, sin = angle.cos(), angle.sin()
        # in units of half a side: a turn in pixels scales the mixed terms by the sides' ratio
        theta = torch.stack(
            [
                torch.stack([x_signed * cos, -y * sin * height / width, middle_x], -1),
                torch.stack([x_signed * sin * width / height, y * cos, middle_y], -1),
            ],
            1,
        )
        grid = F.affine_grid(theta, [len(image), 1, *size], align_corners=False)
        return F.grid_sample(image, grid, padding_mode="border", align_corners=False)

    def _regraded(self, view: torch.Tensor) -> torch.Tensor:
        mean = view.mean((1, 2, 3), keepdim=True)
        contrast = 1 + self.contrast * uniform(view, -1, 1)
        brightness = self.brightness * uniform(view, -1, 1) * mean.flatten()
        return (view - mean) * contrast[:, None, None, None] + mean + brightness[:, None, None, None]

    def _blurred(self, view: torch.Tensor, most: float) -> torch.Tensor:
        chosen, sigma = uniform(view, 0, 1) < self.blur, uniform(view, most / 20, most)
        return gaussian_blur(view, sigma * chosen, 2 * math.ceil(3 * most) + 1)

    def _solarised(self, view: torch.Tensor) -> torch.Tensor:
        chosen, level = uniform(view, 0, 1) < self.solarise, uniform(view, 0.4, 0.9)
        bright = (view >= level[:, None, None, None]) & chosen[:, None, None, None]
        return torch.where(bright, 1 - view, view)


def uniform(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Draw a number for each image of ``like`` (B, ...), (B,), evenly from ``low`` to ``high``."""
    return low + (high - low) * torch.rand(len(like), device=like.device)
