"""DiffusionHeatmap: Salt & Pepper heatmaps by conditional diffusion, and its baseline without diffusion.

Wyatt and Voiculescu, "Salt & Pepper Heatmaps: Diffusion-informed Landmark Detection Strategy" (paper A).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import currentframe
from typing import Any, Literal, NamedTuple

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.seeds import evaluation_seed
from landmark_diffusion.diffusion.blur import blur_sigma, gaussian_blur, renormalise_peak
from landmark_diffusion.diffusion.noise_schedule import Level, NoiseSchedule, ScheduleKind
from landmark_diffusion.diffusion.process import Parameterisation, check_parameterisation, x0_from_output
from landmark_diffusion.diffusion.samplers import Noise, ddim_sample, ddpm_sample, keyed_noise, timesteps
from landmark_diffusion.finders.finder import Finder, Found
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.losses import spatial_softmax
from landmark_diffusion.heatmaps.moments import samples_covariance
from landmark_diffusion.heatmaps.targets import TargetKind
from landmark_diffusion.models.unet import UNet

X0From = Literal["softmax_peak", "clamp", "tanh"]
REFERENCE_WIDTH = 640
"""Paper A states blur and kernel in pixels of a network 640 wide; they scale with the width (docs/conventions.md)."""


class ReverseStep(NamedTuple):
    """One step of the reverse process: t, x_t (B,N,H,W) in noise units, and two views of the estimate of x0.

    ``probability`` is the network's own map (sums to 1 under x0-prediction), ``x0`` the blurred map in [0, 1] that
    the chain goes on from.
    """

    t: int
    x_t: torch.Tensor
    probability: torch.Tensor
    x0: torch.Tensor


class DiffusionHeatmap(Finder):
    """Draw one few-hot heatmap a landmark by diffusion conditioned on the radiograph (paper A), or without diffusion.

    Args:
        num_landmarks: N; linked from the data module.
        diffusion: False gives the paper's baseline: the same UNet on the image alone, with the likelihood alone.
        encoder_channels, decoder_channels: of the UNet, top to bottom and bottom to top (section 3.1).
        blocks_per_level: residual blocks a level.
        attention_factors: downsampling factors with self-attention (section 3.1: 4 and 8).
        attention_heads: heads of each self-attention.
        dropout: inside residual blocks.
        final_activation: in front of the last convolution, "silu" or "tanh" (the paper swaps it for Tanh).
        output_activation: after the last convolution, "none" or "tanh" (the other reading of the same sentence).
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        channels_last: memory format of the network.
        schedule, diffusion_steps, beta_start, beta_end, zero_terminal_snr: the noise (eq. 1-3); T is diffusion_steps.
        parameterisation: what the network predicts: "x0" (eq. 8-9), "epsilon" (eq. 6-7) or "v".
        x0_target, x0_sigma: the map that is noised; sigma in pixels of a 640-wide network.
        nll_target, nll_sigma: the distribution of the likelihood (eq. 10).
        nll_weight, mse_weight: lambda_nll and lambda_s of eq. 11.
        channel_dropout: probability that a landmark's channel is left out of eq. 3 (section 4.1).
        sampler, eta: "ddpm" (eq. 5 and 8) or "ddim" with its eta.
        sampling_steps: network evaluations of the reverse process; None is all T.
        validation_steps: the same for validation within fit (1: single-step only).
        num_samples: chains an image whose maps are averaged.
        x0_from: what turns the output into x0 in [0, 1]: "softmax_peak" (softmax over its peak), "clamp" or "tanh".
        blur_sigma_max, blur_sigma_min, blur_kernel: of eq. 12 in pixels of a 640-wide network; sigma_max 0: no blur.
        renormalise: give a blurred map its height back.
        aggregate: decode the "last" x0 of the chain (paper A), or the "mean" of the steps' probability maps.
        kwargs: learning_rate and the other options of Finder.
    """

    trained_by = "DiffusionHeatmapModule"

    def __init__(
        self,
        num_landmarks: int,
        diffusion: bool = True,
        encoder_channels: Sequence[int] = (32, 64, 128, 256, 256, 512),
        decoder_channels: Sequence[int] = (256, 128, 64, 64, 32, 32),
        blocks_per_level: int = 2,
        attention_factors: Sequence[int] = (4, 8),
        attention_heads: int = 4,
        dropout: float = 0.0,
        final_activation: Literal["silu", "tanh"] = "silu",
        output_activation: Literal["none", "tanh"] = "none",
        gradient_checkpointing: bool = False,
        channels_last: bool = False,
        schedule: ScheduleKind = "linear",
        diffusion_steps: int = 200,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        zero_terminal_snr: bool = False,
        parameterisation: Parameterisation = "x0",
        x0_target: TargetKind = "one_hot",
        x0_sigma: float = 1.0,
        nll_target: TargetKind = "one_hot",
        nll_sigma: float = 1.0,
        nll_weight: float = 1.0,
        mse_weight: float = 0.01,
        channel_dropout: float = 0.0005,
        sampler: Literal["ddpm", "ddim"] = "ddpm",
        eta: float = 0.0,
        sampling_steps: int | None = None,
        validation_steps: int = 1,
        num_samples: int = 1,
        x0_from: X0From = "softmax_peak",
        blur_sigma_max: float = 14.0,
        blur_sigma_min: float = 0.5,
        blur_kernel: int = 13,
        renormalise: bool = False,
        aggregate: Literal["last", "mean"] = "last",
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        self.keep_options(currentframe())
        check_parameterisation(parameterisation, zero_terminal_snr)
        for name, steps in (("sampling_steps", sampling_steps), ("validation_steps", validation_steps)):
            if steps is not None and not 1 <= steps <= diffusion_steps:
                raise UserError(f"model.{name}: found {steps}, expected 1 to diffusion_steps ({diffusion_steps})")
        if num_samples < 1:
            raise UserError(f"model.num_samples: found {num_samples}, expected at least 1")
        self.diffusion = diffusion
        self.main_variant = "multi-step" if diffusion else "baseline"
        self.network = UNet(
            in_channels=1 + num_landmarks if diffusion else 1,
            out_channels=num_landmarks,
            encoder_channels=tuple(encoder_channels),
            decoder_channels=tuple(decoder_channels),
            blocks_per_level=blocks_per_level,
            attention_factors=tuple(attention_factors),
            attention_heads=attention_heads,
            time_embedding=diffusion,
            dropout=dropout,
            final_activation=final_activation,
            output_activation=output_activation,
            gradient_checkpointing=gradient_checkpointing,
            channels_last=channels_last,
        )
        self.noise_schedule = NoiseSchedule(schedule, diffusion_steps, beta_start, beta_end, zero_terminal_snr)
        self.parameterisation: Parameterisation = parameterisation
        self.x0_target, self.x0_sigma, self.nll_target, self.nll_sigma = x0_target, x0_sigma, nll_target, nll_sigma
        self.nll_weight, self.mse_weight, self.channel_dropout = nll_weight, mse_weight, channel_dropout
        self.sampler, self.eta, self.num_samples = sampler, eta, num_samples
        self.sampling_steps = sampling_steps or diffusion_steps
        self.validation_steps = validation_steps
        self.x0_from: X0From = x0_from
        self.blur_sigma_max, self.blur_sigma_min, self.blur_kernel = blur_sigma_max, blur_sigma_min, blur_kernel
        self.renormalise, self.aggregate = renormalise, aggregate

    def forward(
        self, image: torch.Tensor, x_t: torch.Tensor | None = None, t: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the network on image (B,1,H,W), with diffusion beside x_t (B,N,H,W) at t (B,): (B,N,H,W) float32."""
        return self.network(image if x_t is None else torch.cat([image, x_t], 1), t)

    def variants(self, quick: bool = False) -> tuple[str, ...]:
        """Give the names of ``predict_maps``' maps."""
        if not self.diffusion:
            return ("baseline",)
        count = self.validation_steps if quick else self.sampling_steps
        return ("single-step", "multi-step") if count > 1 else ("single-step",)

    def predict_maps(
        self, batch: Batch, quick: bool = False, watch: Callable[[ReverseStep], None] | None = None
    ) -> dict[str, torch.Tensor]:
        """Maps for "baseline", or for "single-step" and, with more than one evaluation, "multi-step".

        ``watch`` is shown each step of the first sample's chain.
        """
        if not self.diffusion:
            return {"baseline": spatial_softmax(self(batch["image"]))}
        count = self.validation_steps if quick else self.sampling_steps
        total: dict[str, torch.Tensor] = {}
        for sample in range(self.num_samples):
            for name, maps in self._chain_maps(batch, count, sample, None if sample else watch).items():
                total[name] = maps if name not in total else total[name] + maps
        return {name: maps / self.num_samples for name, maps in total.items()}

    def sampling(self) -> tuple[int, int]:
        """How many network evaluations an image takes, and how many samples."""
        return (self.sampling_steps, self.num_samples) if self.diffusion else (1, 1)

    def choose_sampling(self, steps: int | None = None, samples: int | None = None) -> None:
        """Take ``steps`` network evaluations (1 to T) and ``samples`` chains an image; None leaves one as it is."""
        if not self.diffusion:
            return super().choose_sampling(steps, samples)
        if steps is not None and not 1 <= steps <= self.noise_schedule.steps:
            raise UserError(f"steps: found {steps}, expected 1 to {self.noise_schedule.steps} for this model")
        if samples is not None and samples < 1:
            raise UserError(f"samples: found {samples}, expected at least 1")
        self.sampling_steps, self.num_samples = steps or self.sampling_steps, samples or self.num_samples

    @torch.no_grad()
    def find(self, batch: Batch, quick: bool = False) -> dict[str, Found]:
        """Decode each variant's maps, averaged over the samples; ``between`` is the spread of the samples' points."""
        if not self.diffusion or self.num_samples == 1:
            return super().find(batch, quick)
        count = self.validation_steps if quick else self.sampling_steps
        total: dict[str, torch.Tensor] = {}
        each: dict[str, list[Found]] = {}
        for sample in range(self.num_samples):
            for name, maps in self._chain_maps(batch, count, sample).items():
                total[name] = maps if name not in total else total[name] + maps
                each.setdefault(name, []).append(self.read(maps))
        return {name: Found(self.decode(maps), *_spreads(each[name])) for name, maps in total.items()}

    def _chain_maps(
        self, batch: Batch, count: int, sample: int, watch: Callable[[ReverseStep], None] | None = None
    ) -> dict[str, torch.Tensor]:
        maps: dict[str, torch.Tensor] = {}
        for step in self.reverse_process(batch, count, sample):
            if watch is not None:
                watch(step)
            maps.setdefault("single-step", step.probability)
            if count > 1 and self.aggregate == "last":
                maps["multi-step"] = step.x0
            elif count > 1:
                share = step.probability / count
                maps["multi-step"] = maps["multi-step"] + share if "multi-step" in maps else share
        return maps

    @torch.no_grad()
    def reverse_process(self, batch: Batch, count: int | None = None, sample: int = 0) -> Iterator[ReverseStep]:
        """Run the chain from noise at T-1 to x0 with ``count`` evaluations, yielding each step.

        The noise of an image depends on (seed, its index, ``sample``) alone: neither on the batch nor on the process.
        """
        image = batch["image"]
        levels = self.noise_schedule.levels(timesteps(self.noise_schedule.steps, count or self.sampling_steps))
        noise = self._noise_source(batch, sample)
        latest: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, level: Level) -> torch.Tensor:
            t = level.steps(x_t)
            # logits under x0-prediction, else maps in about [-1, 1]
            raw = x0_from_output(self.noise_schedule, self.parameterisation, self(image, x_t, t), x_t, t)
            x0 = self._blurred(self._x0_map(raw), level.t)
            latest[:] = [spatial_softmax(raw) if self.parameterisation == "x0" else to_unit(raw), x0]
            return 2 * x0 - 1

        sampler = partial(ddim_sample, eta=self.eta) if self.sampler == "ddim" else ddpm_sample
        for level, x_t, _ in sampler(denoise, noise(), levels, noise):
            yield ReverseStep(level.t, x_t, *latest)

    def _noise_source(self, batch: Batch, sample: int) -> Noise:
        shape = (self.num_landmarks, *batch["image"].shape[-2:])
        seeds = [evaluation_seed(self.seed, int(index), sample) for index in batch["index"]]
        return keyed_noise(seeds, shape, batch["image"].device)

    def _x0_map(self, raw: torch.Tensor) -> torch.Tensor:
        """What turns the network's output into x0 in [0, 1] (docs/conventions.md)."""
        if self.parameterisation != "x0" or self.x0_from == "clamp":
            return to_unit(raw)
        if self.x0_from == "tanh":
            return (torch.tanh(raw) + 1) / 2
        return torch.exp(raw - raw.amax((-2, -1), keepdim=True))

    def _blurred(self, x0: torch.Tensor, t: int) -> torch.Tensor:
        """Eq. 12: the blur that shrinks along the reverse process, scaled to the network's width."""
        if not self.blur_sigma_max:
            return x0
        scale = x0.shape[-1] / REFERENCE_WIDTH
        sigma = blur_sigma(t, self.noise_schedule.steps, self.blur_sigma_min, self.blur_sigma_max) * scale
        kernel = max(3, 2 * round((self.blur_kernel * scale - 1) / 2) + 1)
        blurred = gaussian_blur(x0, sigma, kernel)
        return renormalise_peak(blurred, x0) if self.renormalise else blurred


def _spreads(samples: list[Found]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the samples leave open by themselves, on average, and the covariance of their points: (B,N,2,2) both."""
    within = torch.stack([sample.within for sample in samples if sample.within is not None]).mean(0)
    return within, samples_covariance(torch.stack([sample.points for sample in samples]))


def to_unit(x0: torch.Tensor) -> torch.Tensor:
    """Map an estimate of x0 in [-1, 1] to [0, 1], clamped."""
    return ((x0 + 1) / 2).clamp(0, 1)
