"""DDPMPretrainModule: learn radiographs without labels by diffusion, so that few labels suffice afterwards.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import currentframe
from typing import Any, Literal

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group
from landmark_diffusion.core.seeds import evaluation_seed
from landmark_diffusion.diffusion.noise_schedule import Level, NoiseOptions
from landmark_diffusion.diffusion.process import (
    Parameterisation,
    add_noise,
    check_parameterisation,
    network_target,
    x0_from_output,
)
from landmark_diffusion.diffusion.samplers import ddim_sample, ddpm_sample, keyed_noise, timesteps
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.losses import full_precision
from landmark_diffusion.methods.training import TrainedModule
from landmark_diffusion.models.network import NetworkFactory, build_network, described
from landmark_diffusion.models.presets import PAPER_B

NOISE = NoiseOptions(steps=500)
"""Paper B section 4.2."""


@dataclass(frozen=True)
class GeneratedImages:
    """The radiographs that are generated in training, to look at.

    Args:
        sampler: "ddpm" or "ddim"; after short training "ddim" leaves noise in some of them.
        steps: network evaluations of a generated radiograph.
        every: optimiser steps between two grids of generated radiographs (0: none).
        count: how many a grid has.
        statistics_count: generated radiographs whose histogram and spectrum are compared with the training images'.
    """

    sampler: Literal["ddpm", "ddim"] = "ddpm"
    steps: int = 250
    every: int = 2000
    count: int = 8
    statistics_count: int = 32


class DDPMPretrainModule(TrainedModule):
    """Denoise whole radiographs (paper B, eq. 1-5): epsilon prediction, mean squared error, T = 500.

    Args:
        num_landmarks: linked from the data module and not used: labels are not looked at.
        network: fine-tuning has to repeat it; it takes steps t.
        noise: the schedule.
        parameterisation: what the network predicts: "epsilon" (eq. 5), "x0" or "v".
        self_conditioning: let the network see its own earlier estimate of x0 (Chen et al. 2023; the released code).
        image_range: the grey levels 0 and 1 of a batch become these; fine-tuning sees the same.
        sampling: the radiographs that are generated in training.
        kwargs: optimisation.
    """

    def __init__(
        self,
        num_landmarks: int = 0,
        network: NetworkFactory = PAPER_B,
        noise: NoiseOptions = NOISE,
        parameterisation: Parameterisation = "epsilon",
        self_conditioning: bool = False,
        image_range: tuple[float, float] = (-1.0, 1.0),
        sampling: GeneratedImages = GeneratedImages(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        network = described(network, PAPER_B)
        noise = as_group(NoiseOptions, noise, "model.noise", NOISE)
        self.sampling = as_group(GeneratedImages, sampling, "model.sampling")
        self.keep_options(currentframe(), network=network, noise=noise, sampling=self.sampling)
        check_parameterisation(parameterisation, noise.zero_terminal_snr)
        if not 1 <= self.sampling.steps <= noise.steps:
            raise UserError(
                f"model.sampling.steps: found {self.sampling.steps}, expected 1 to noise.steps ({noise.steps})"
            )
        self.network = build_network(network, 2 if self_conditioning else 1, 1, time_embedding=True)
        self.noise_schedule = noise.schedule_of_levels()
        self.parameterisation: Parameterisation = parameterisation
        self.self_conditioning = self_conditioning
        self.image_range = check_range(image_range)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, earlier: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network on x_t (B,1,H,W) at t (B,), with self-conditioning beside an earlier estimate of x0."""
        if self.self_conditioning:
            x_t = torch.cat([x_t, torch.zeros_like(x_t) if earlier is None else earlier], 1)
        output: torch.Tensor = self.network(x_t, t)
        return output

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Eq. 5 for a step t drawn uniformly for each image."""
        x0 = scale_image(batch["image"], self.image_range)
        t = torch.randint(0, self.noise_schedule.steps, (len(x0),), device=x0.device)
        return {"loss": self._squared_errors(x0, t, torch.randn_like(x0), torch.rand(()).item() < 0.5).mean()}

    def image_losses(self, batch: Batch) -> torch.Tensor:
        """The same loss, (B,), for steps spread over 0 ... T-1 by the image's place and noise keyed to the image."""
        x0 = scale_image(batch["image"], self.image_range)
        noise = keyed_noise([evaluation_seed(self.seed, int(i)) for i in batch["index"]], x0.shape[1:], x0.device)()
        # the golden ratio's multiples fill [0, 1) evenly, however many images there are
        places = (batch["index"].double() * 0.6180339887498949 + 0.5).remainder(1.0)
        t = (places * self.noise_schedule.steps).long().to(x0.device)
        return self._squared_errors(x0, t, noise, self.self_conditioning)

    def on_predict_start(self) -> None:
        """Refuse: there are no landmarks to predict."""
        raise UserError(
            "ldx predict: DDPMPretrainModule learns images and finds no landmarks; fine-tune its checkpoint first "
            "(HeatmapFinetuneModule, model.pretrained)"
        )

    def _squared_errors(
        self, x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, conditioned: bool
    ) -> torch.Tensor:
        """Mean squared error over the pixels of each image, (B,)."""
        x_t = add_noise(self.noise_schedule, x0, noise, t)
        earlier = None
        if self.self_conditioning and conditioned:
            with torch.no_grad():
                earlier = self._x0(self(x_t, t), x_t, t)
        output = self(x_t, t, earlier)
        wanted = network_target(self.noise_schedule, self.parameterisation, x0, noise, t)
        with torch.autocast(output.device.type, enabled=False):
            return (full_precision(output) - full_precision(wanted)).square().mean((1, 2, 3))

    def _x0(self, output: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The estimate of x0, cut to the range that images have."""
        x0 = x0_from_output(self.noise_schedule, self.parameterisation, output, x_t, t)
        return x0.clamp(*self.image_range)

    @torch.no_grad()
    def generate(
        self, count: int, size: tuple[int, int], steps: int | None = None, seed: int | None = None
    ) -> torch.Tensor:
        """Generate radiographs (count,1,H,W) in [0,1] on the CPU; ``size`` is (W, H).

        ``steps`` network evaluations (None: ``sampling.steps``); image i depends on (seed, i) alone, and torch's own
        random state is left as it is.
        """
        chosen = self.seed if seed is None else seed
        noise = keyed_noise([evaluation_seed(chosen, i, 1) for i in range(count)], (1, size[1], size[0]), self.device)
        earlier: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, level: Level) -> torch.Tensor:
            t = level.steps(x_t)
            x0 = self._x0(self(x_t, t, earlier[0] if earlier else None), x_t, t)
            earlier[:] = [x0]
            return x0

        sample = ddim_sample if self.sampling.sampler == "ddim" else ddpm_sample
        levels = self.noise_schedule.levels(timesteps(self.noise_schedule.steps, steps or self.sampling.steps))
        *_, (_, _, x0) = sample(denoise, noise(), levels, noise)
        low, high = self.image_range
        return ((x0 - low) / (high - low)).float().cpu()
