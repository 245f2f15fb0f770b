"""DiffusionHeatmapModule: the training of Salt & Pepper heatmaps and of their baseline without diffusion (paper A)."""

from __future__ import annotations

import torch

from landmark_diffusion.diffusion.process import add_noise, network_target
from landmark_diffusion.finders.diffusion_heatmap import REFERENCE_WIDTH, DiffusionHeatmap
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.losses import masked_mse, spatial_nll
from landmark_diffusion.heatmaps.targets import TargetKind, make_target
from landmark_diffusion.methods.base import LandmarkModule


class DiffusionHeatmapModule(LandmarkModule, DiffusionHeatmap):
    """Draw one few-hot heatmap a landmark by diffusion conditioned on the radiograph (paper A), or without diffusion.

    The options are those of DiffusionHeatmap, the same without Lightning; here is how it is trained.
    """

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Eq. 11: lambda_nll L_nll + lambda_s L_s; the likelihood alone without diffusion; eq. 7 for epsilon and v."""
        target = self._target(batch, self.target.nll, self.target.nll_sigma)
        if not self.diffusion:
            nll = spatial_nll(self(batch["image"]), target)
            return {"loss": nll, "nll": nll}
        x0 = 2 * self._x0(batch, target) - 1
        t = torch.randint(0, self.noise_schedule.steps, (len(x0),), device=x0.device)
        noise = torch.randn_like(x0)
        x_t = add_noise(self.noise_schedule, self._drop_channels(x0), noise, t)
        output = self(batch["image"], x_t, t)
        known = target.sum((-2, -1)) > 0
        if self.parameterisation != "x0":
            wanted = network_target(self.noise_schedule, self.parameterisation, x0, noise, t)
            return {"loss": masked_mse(output, wanted, known)}
        nll, mse = spatial_nll(output, target), masked_mse(output, x0, known)
        return {"loss": self.target.nll_weight * nll + self.target.mse_weight * mse, "nll": nll, "mse": mse}

    def _target(self, batch: Batch, kind: TargetKind, sigma: float) -> torch.Tensor:
        height, width = batch["image"].shape[-2:]
        return make_target(batch["target_points"], (height, width), kind, sigma * width / REFERENCE_WIDTH)

    def _x0(self, batch: Batch, nll_target: torch.Tensor) -> torch.Tensor:
        """The map that is noised, in [0, 1]."""
        if (self.target.x0, self.target.x0_sigma) == (self.target.nll, self.target.nll_sigma):
            return nll_target
        return self._target(batch, self.target.x0, self.target.x0_sigma)

    def _drop_channels(self, x0: torch.Tensor) -> torch.Tensor:
        """Empty whole channels (to -1, the background) with probability ``channel_dropout`` (section 4.1)."""
        if not self.target.channel_dropout:
            return x0
        dropped = torch.rand(x0.shape[:2], device=x0.device) < self.target.channel_dropout
        return torch.where(dropped[..., None, None], -torch.ones_like(x0), x0)
