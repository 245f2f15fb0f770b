"""PositionDiffusionModule: the training of a diffusion that moves the hot pixel of each heatmap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.finders.position_diffusion import PositionDiffusion
from landmark_diffusion.heatmaps.losses import spatial_nll, spatial_nll_or_outside
from landmark_diffusion.heatmaps.targets import make_target
from landmark_diffusion.methods.base import LandmarkModule
from landmark_diffusion.methods.pretrained import Transfer, is_part, load_pretrained
from landmark_diffusion.modelfile.checkpoint_reading import read_start


class PositionDiffusionModule(LandmarkModule, PositionDiffusion):
    """Find landmarks by diffusion of positions: a first guess from the whole image, refined in windows that shrink.

    The options are those of PositionDiffusion, the same without Lightning; here is how it is trained.
    """

    transfers: tuple[Transfer, ...] | None = None
    """What was taken from DDPMs, for each network that began as one; None before."""

    def take_start(self, data: Any) -> None:
        """Put the weights of ``pretrained`` and ``window_pretrained`` into the networks, once, and tell what was taken.

        Raises UserError for a start that does not fit.
        """
        whole = self.pretrained is not None and not is_part(read_start(self.pretrained))
        if whole and self.window_pretrained is not None:
            raise UserError(
                f"model.window_pretrained: {self.pretrained} (model.pretrained) has a window network of its own; leave "
                "one of the two out, or let model.pretrained be a DDPM"
            )
        if whole:
            super().take_start(data)
        elif self.transfers is None:
            self.transfers = tuple(self._begin_as_ddpms())

    def _begin_as_ddpms(self) -> Iterator[Transfer]:
        starts = (
            ("network", self.network, self.pretrained),
            ("window_network", self.window_network, self.window_pretrained),
        )
        for part, network, path in starts:
            if path is None:
                continue
            found = load_pretrained(
                network, path, self.weights, dict(self.hparams), part=part, ddpm_start=self.ddpm_start
            )
            say(f"{part}: {found.describe()}")
            yield found

    def on_fit_start(self) -> None:
        """Learn how the landmarks lie to each other from the training points, unless a start knows from many more."""
        super().on_fit_start()
        known = self._has_weights or (self.start is not None and self.start.same_anatomy)
        if not (known and self.shape_prior.is_set):
            self.learn_points(self.trainer.datamodule.stage_dataset("train").network_points())  # type: ignore[attr-defined]

    def learn_points(self, points: np.ndarray) -> None:
        """Learn how the landmarks of the training points (I, N, 2) in network pixels lie to each other."""
        self.joint.fit(self.shape_prior, torch.from_numpy(points), self.trainer.datamodule.size[0])  # type: ignore[attr-defined]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Likelihood of the coarse network (eq. 10), and of the window network at one sigma_t an image."""
        logits = self(batch["image"])
        places = self._to_coarse(batch["target_points"])
        height, width = logits.shape[-2:]
        target = make_target(places, (height, width), "one_hot")
        if self.outside:
            gone = (batch["points"].isfinite().all(-1)) & ~batch["visible"]
            coarse = spatial_nll_or_outside(logits, target * ~gone[..., None, None], gone)
        else:
            coarse = spatial_nll(logits, target)
        window = self.window_nll(batch)
        return {"loss": coarse + self.window_weight * window, "nll": coarse, "window_nll": window}

    def window_nll(self, batch: Batch) -> torch.Tensor:
        """-log p(y_0 | y_t, image) for t drawn evenly, the mass of y_0 shared by the window's pixels around it."""
        image, pyramid = batch["image"], self._pyramid(batch["image"])
        schedule = self._schedule(image.shape[-1])
        points = torch.nan_to_num(batch["points"]).repeat(self.noise.draws, 1, 1)
        t = torch.rand(len(points), device=points.device) * (schedule.steps - 1)
        sigma = schedule.sigma(t)
        positions = points + sigma[:, None, None] * torch.randn_like(points)
        pyramid = [level.repeat(self.noise.draws, 1, 1, 1) for level in pyramid]
        logits = self._evidence(pyramid, positions, sigma, t) + self._log_gaussian()
        inside = batch["target_points"].repeat(self.noise.draws, 1, 1, 1) - positions[:, None]
        inside = inside / self._pixel(sigma)[:, None, None, None] + (self.windows.size - 1) / 2
        target = make_target(
            inside.transpose(1, 2).flatten(0, 1)[:, :, None], (self.windows.size, self.windows.size), "subpixel"
        )  # each window a map of its own: (B N, A', 1, 2) gives (B N, 1, P, P)
        return spatial_nll(logits.flatten(0, 1)[:, None], target)
