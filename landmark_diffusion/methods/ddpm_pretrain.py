"""DDPMPretrainModule: learn radiographs without labels by diffusion, so that few labels suffice afterwards.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import currentframe
from typing import Any, Literal

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.seeds import evaluation_seed
from landmark_diffusion.diffusion.noise_schedule import Level, NoiseSchedule, ScheduleKind
from landmark_diffusion.diffusion.process import (
    Parameterisation,
    add_noise,
    check_parameterisation,
    network_target,
    x0_from_output,
)
from landmark_diffusion.diffusion.samplers import ddim_sample, ddpm_sample, keyed_noise, timesteps
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.heatmaps.losses import full_precision
from landmark_diffusion.methods.training import Batch, TrainedModule
from landmark_diffusion.models.unet import UNet


class DDPMPretrainModule(TrainedModule):
    """Denoise whole radiographs (paper B, eq. 1-5): epsilon prediction, mean squared error, T = 500.

    Args:
        num_landmarks: linked from the data module and not used: labels are not looked at.
        encoder_channels, decoder_channels, blocks_per_level, attention_factors, attention_heads: of the UNet, which
            fine-tuning has to repeat.
        attention_head_channels, linear_attention_factors, middle, dropout, final_activation: likewise.
        gradient_checkpointing, channels_last: its memory.
        schedule, diffusion_steps, beta_start, beta_end, zero_terminal_snr: the noise; T is diffusion_steps.
        parameterisation: what the network predicts: "epsilon" (eq. 5), "x0" or "v".
        self_conditioning: let the network see its own earlier estimate of x0 (Chen et al. 2023; the released code).
        image_range: the grey levels 0 and 1 of a batch become these; fine-tuning sees the same.
        sampler: "ddpm" or "ddim" for generated radiographs; after short training "ddim" leaves noise in some of them.
        sampling_steps: network evaluations of a generated radiograph.
        sample_every, sample_count: optimiser steps between two grids of generated radiographs (0: none), and how many.
        statistics_count: generated radiographs whose histogram and spectrum are compared with the training images'.
        kwargs: learning_rate and the other options of TrainedModule.
    """

    def __init__(
        self,
        num_landmarks: int = 0,
        encoder_channels: Sequence[int] = (64, 128, 256, 512),
        decoder_channels: Sequence[int] = (512, 256, 128, 64),
        blocks_per_level: int = 4,
        attention_factors: Sequence[int] = (8,),
        attention_heads: int = 4,
        attention_head_channels: int | None = None,
        linear_attention_factors: Sequence[int] = (),
        middle: Literal["none", "attention"] = "none",
        dropout: float = 0.0,
        final_activation: Literal["silu", "tanh"] = "silu",
        gradient_checkpointing: bool = False,
        channels_last: bool = False,
        schedule: ScheduleKind = "linear",
        diffusion_steps: int = 500,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        zero_terminal_snr: bool = False,
        parameterisation: Parameterisation = "epsilon",
        self_conditioning: bool = False,
        image_range: tuple[float, float] = (-1.0, 1.0),
        sampler: Literal["ddpm", "ddim"] = "ddpm",
        sampling_steps: int = 250,
        sample_every: int = 2000,
        sample_count: int = 8,
        statistics_count: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_options(currentframe())
        check_parameterisation(parameterisation, zero_terminal_snr)
        if not 1 <= sampling_steps <= diffusion_steps:
            raise UserError(
                f"model.sampling_steps: found {sampling_steps}, expected 1 to diffusion_steps ({diffusion_steps})"
            )
        self.network = UNet(
            in_channels=2 if self_conditioning else 1,
            out_channels=1,
            encoder_channels=tuple(encoder_channels),
            decoder_channels=tuple(decoder_channels),
            blocks_per_level=blocks_per_level,
            attention_factors=tuple(attention_factors),
            attention_heads=attention_heads,
            attention_head_channels=attention_head_channels,
            linear_attention_factors=tuple(linear_attention_factors),
            middle=middle,
            dropout=dropout,
            final_activation=final_activation,
            gradient_checkpointing=gradient_checkpointing,
            channels_last=channels_last,
        )
        self.noise_schedule = NoiseSchedule(schedule, diffusion_steps, beta_start, beta_end, zero_terminal_snr)
        self.parameterisation: Parameterisation = parameterisation
        self.self_conditioning = self_conditioning
        self.image_range = check_range(image_range)
        self.sampler, self.sampling_steps = sampler, sampling_steps
        self.sample_every, self.sample_count, self.statistics_count = sample_every, sample_count, statistics_count

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, earlier: torch.Tensor | None = None) -> torch.Tensor:
        """Run the network on x_t (B,1,H,W) at t (B,), with self-conditioning beside an earlier estimate of x0."""
        if self.self_conditioning:
            x_t = torch.cat([x_t, torch.zeros_like(x_t) if earlier is None else earlier], 1)
        return self.network(x_t, t)

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

        ``steps`` network evaluations (None: ``sampling_steps``); image i depends on (seed, i) alone, and torch's own
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

        sample = ddim_sample if self.sampler == "ddim" else ddpm_sample
        levels = self.noise_schedule.levels(timesteps(self.noise_schedule.steps, steps or self.sampling_steps))
        *_, (_, _, x0) = sample(denoise, noise(), levels, noise)
        low, high = self.image_range
        return ((x0 - low) / (high - low)).float().cpu()
