"""DiffusionHeatmap: Salt & Pepper heatmaps by conditional diffusion, and its baseline without diffusion.

Wyatt and Voiculescu, "Salt & Pepper Heatmaps: Diffusion-informed Landmark Detection Strategy" (paper A).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from inspect import currentframe
from typing import Any, Literal, NamedTuple

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group, at_least_one
from landmark_diffusion.core.seeds import evaluation_seed
from landmark_diffusion.diffusion.blur import blur_sigma, renormalise_peak
from landmark_diffusion.diffusion.noise_schedule import Level, NoiseOptions
from landmark_diffusion.diffusion.process import Parameterisation, check_parameterisation, x0_from_output
from landmark_diffusion.diffusion.samplers import Noise, ddim_sample, ddpm_sample, keyed_noise, timesteps
from landmark_diffusion.finders.finder import Finder, LandmarkEstimate
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.blur import gaussian_blur
from landmark_diffusion.heatmaps.losses import spatial_softmax
from landmark_diffusion.heatmaps.moments import samples_covariance
from landmark_diffusion.heatmaps.targets import TargetKind
from landmark_diffusion.models.network import NetworkFactory, build_network, described
from landmark_diffusion.models.presets import PAPER_A

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


@dataclass(frozen=True)
class MapTarget:
    """What is learned.

    Args:
        x0: the map that is noised.
        x0_sigma: its sigma, in pixels of a 640-wide network.
        nll: the distribution of the likelihood (eq. 10).
        nll_sigma: its sigma, likewise.
        nll_weight: lambda_nll of eq. 11.
        mse_weight: lambda_s of eq. 11.
        channel_dropout: probability that a landmark's channel is left out of eq. 3 (section 4.1).

    Raises UserError for values that make no sense.
    """

    x0: TargetKind = "one_hot"
    x0_sigma: float = 1.0
    nll: TargetKind = "one_hot"
    nll_sigma: float = 1.0
    nll_weight: float = 1.0
    mse_weight: float = 0.01
    channel_dropout: float = 0.0005

    def __post_init__(self) -> None:
        for name in ("nll_weight", "mse_weight"):
            if (value := getattr(self, name)) < 0:
                raise UserError(f"model.target.{name}: found {value:g}, expected 0 or more")
        if not 0 <= self.channel_dropout < 1:
            raise UserError(f"model.target.channel_dropout: found {self.channel_dropout:g}, expected 0 to below 1")


@dataclass(frozen=True)
class MapSampling:
    """The reverse process of a prediction.

    Args:
        sampler: "ddpm" (eq. 5 and 8) or "ddim".
        eta: of "ddim".
        steps: network evaluations of the reverse process; None is all T.
        validation_steps: the same for validation within fit (1: single-step only).
        samples: chains an image whose maps are averaged.
        x0_from: what turns the output into x0 in [0, 1]: "softmax_peak" (softmax over its peak), "clamp" or "tanh".
        blur_sigma_max: of eq. 12, in pixels of a 640-wide network; 0: no blur.
        blur_sigma_min: likewise.
        blur_kernel: likewise.
        renormalise: give a blurred map its height back.
        aggregate: decode the "last" x0 of the chain (paper A), or the "mean" of the steps' probability maps.

    Raises UserError for less than one sample.
    """

    sampler: Literal["ddpm", "ddim"] = "ddpm"
    eta: float = 0.0
    steps: int | None = None
    validation_steps: int = 1
    samples: int = 1
    x0_from: X0From = "softmax_peak"
    blur_sigma_max: float = 14.0
    blur_sigma_min: float = 0.5
    blur_kernel: int = 13
    renormalise: bool = False
    aggregate: Literal["last", "mean"] = "last"

    def __post_init__(self) -> None:
        at_least_one("model.sampling", self, "samples")


class DiffusionHeatmap(Finder):
    """Draw one few-hot heatmap a landmark by diffusion conditioned on the radiograph (paper A), or without diffusion.

    Args:
        num_landmarks: N; linked from the data module.
        diffusion: False gives the paper's baseline: the same UNet on the image alone, with the likelihood alone.
        network: it sees the image, with diffusion the noised maps beside it, and takes steps t.
        noise: the schedule (eq. 1-3).
        parameterisation: what the network predicts: "x0" (eq. 8-9), "epsilon" (eq. 6-7) or "v".
        target, sampling: what is learned, and the reverse process.
        kwargs: decoding, the start and optimisation.
    """

    trained_by = "DiffusionHeatmapModule"

    def __init__(
        self,
        num_landmarks: int,
        diffusion: bool = True,
        network: NetworkFactory = PAPER_A,
        noise: NoiseOptions = NoiseOptions(),  # noqa: B008 (frozen)
        parameterisation: Parameterisation = "x0",
        target: MapTarget = MapTarget(),
        sampling: MapSampling = MapSampling(),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        network = described(network, PAPER_A)
        noise = as_group(NoiseOptions, noise, "model.noise")
        self.target = as_group(MapTarget, target, "model.target")
        self.sampling = as_group(MapSampling, sampling, "model.sampling")
        self.keep_options(currentframe(), network=network, noise=noise, target=self.target, sampling=self.sampling)
        check_parameterisation(parameterisation, noise.zero_terminal_snr)
        for name in ("steps", "validation_steps"):
            if (steps := getattr(self.sampling, name)) is not None and not 1 <= steps <= noise.steps:
                raise UserError(f"model.sampling.{name}: found {steps}, expected 1 to noise.steps ({noise.steps})")
        self.diffusion = diffusion
        self.main_variant = "multi-step" if diffusion else "baseline"
        self.noise_schedule = noise.schedule_of_levels()
        self.parameterisation: Parameterisation = parameterisation
        self.network = build_network(
            network, 1 + num_landmarks if diffusion else 1, num_landmarks, time_embedding=diffusion
        )

    def landmark_axes(self) -> dict[str, tuple[int, int]]:
        """Say where the landmarks are: rows of the head, and with diffusion the stem's channels behind the image's."""
        head, stem = (getattr(self.network, name, None) for name in ("head", "stem"))
        rows = {f"network.{head}.{part}": (0, 0) for part in ("weight", "bias") if head}
        return rows | ({f"network.{stem}.weight": (1, 1)} if stem and self.diffusion else {})

    def forward(
        self, image: torch.Tensor, x_t: torch.Tensor | None = None, t: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run the network on image (B,1,H,W), with diffusion beside x_t (B,N,H,W) at t (B,): (B,N,H,W) float32."""
        seen = image if x_t is None else torch.cat([image, x_t], 1)
        output: torch.Tensor = self.network(seen) if t is None else self.network(seen, t)
        return output

    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        """Give the names of ``predict_maps``' maps."""
        if not self.diffusion:
            return ("baseline",)
        count = self._evaluations(in_fit)
        return ("single-step", "multi-step") if count > 1 else ("single-step",)

    def predict_maps(
        self, batch: Batch, in_fit: bool = False, watch: Callable[[ReverseStep], None] | None = None
    ) -> dict[str, torch.Tensor]:
        """Maps for "baseline", or for "single-step" and, with more than one evaluation, "multi-step".

        ``watch`` is shown each step of the first sample's chain.
        """
        if not self.diffusion:
            return {"baseline": spatial_softmax(self(batch["image"]))}
        count = self._evaluations(in_fit)
        total: dict[str, torch.Tensor] = {}
        for sample in range(self.sampling.samples):
            for name, maps in self._chain_maps(batch, count, sample, None if sample else watch).items():
                total[name] = maps if name not in total else total[name] + maps
        return {name: maps / self.sampling.samples for name, maps in total.items()}

    def evaluations(self) -> tuple[int, int]:
        """How many network evaluations an image takes, and how many samples."""
        return (self._evaluations(), self.sampling.samples) if self.diffusion else (1, 1)

    def _evaluations(self, in_fit: bool = False) -> int:
        return self.sampling.validation_steps if in_fit else self.sampling.steps or self.noise_schedule.steps

    def choose_sampling(self, steps: int | None = None, samples: int | None = None) -> None:
        """Take ``steps`` network evaluations (1 to T) and ``samples`` chains an image; None leaves one as it is."""
        if not self.diffusion:
            return super().choose_sampling(steps, samples)
        if steps is not None and not 1 <= steps <= self.noise_schedule.steps:
            raise UserError(f"steps: found {steps}, expected 1 to {self.noise_schedule.steps} for this model")
        if samples is not None and samples < 1:
            raise UserError(f"samples: found {samples}, expected at least 1")
        self.sampling = replace(
            self.sampling, steps=steps or self.sampling.steps, samples=samples or self.sampling.samples
        )

    @torch.no_grad()
    def find(self, batch: Batch, in_fit: bool = False) -> dict[str, LandmarkEstimate]:
        """Decode each variant's maps, averaged over the samples; ``between`` is the spread of the samples' points."""
        if not self.diffusion or self.sampling.samples == 1:
            return super().find(batch, in_fit)
        count = self._evaluations(in_fit)
        total: dict[str, torch.Tensor] = {}
        each: dict[str, list[LandmarkEstimate]] = {}
        for sample in range(self.sampling.samples):
            for name, maps in self._chain_maps(batch, count, sample).items():
                total[name] = maps if name not in total else total[name] + maps
                each.setdefault(name, []).append(self.read(maps))
        return {name: LandmarkEstimate(self.decode(maps), *_spreads(each[name])) for name, maps in total.items()}

    def _chain_maps(
        self, batch: Batch, count: int, sample: int, watch: Callable[[ReverseStep], None] | None = None
    ) -> dict[str, torch.Tensor]:
        maps: dict[str, torch.Tensor] = {}
        for step in self.reverse_process(batch, count, sample):
            if watch is not None:
                watch(step)
            maps.setdefault("single-step", step.probability)
            if count > 1 and self.sampling.aggregate == "last":
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
        levels = self.noise_schedule.levels(timesteps(self.noise_schedule.steps, count or self._evaluations()))
        noise = self._noise_source(batch, sample)
        latest: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, level: Level) -> torch.Tensor:
            t = level.steps(x_t)
            # logits under x0-prediction, else maps in about [-1, 1]
            raw = x0_from_output(self.noise_schedule, self.parameterisation, self(image, x_t, t), x_t, t)
            x0 = self._blurred(self._x0_map(raw), level.t)
            latest[:] = [spatial_softmax(raw) if self.parameterisation == "x0" else to_unit(raw), x0]
            return 2 * x0 - 1

        sampler = partial(ddim_sample, eta=self.sampling.eta) if self.sampling.sampler == "ddim" else ddpm_sample
        for level, x_t, _ in sampler(denoise, noise(), levels, noise):
            yield ReverseStep(level.t, x_t, *latest)

    def _noise_source(self, batch: Batch, sample: int) -> Noise:
        shape = (self.num_landmarks, *batch["image"].shape[-2:])
        seeds = [evaluation_seed(self.seed, int(index), sample) for index in batch["index"]]
        return keyed_noise(seeds, shape, batch["image"].device)

    def _x0_map(self, raw: torch.Tensor) -> torch.Tensor:
        """What turns the network's output into x0 in [0, 1] (docs/conventions.md)."""
        if self.parameterisation != "x0" or self.sampling.x0_from == "clamp":
            return to_unit(raw)
        if self.sampling.x0_from == "tanh":
            return (torch.tanh(raw) + 1) / 2
        return torch.exp(raw - raw.amax((-2, -1), keepdim=True))

    def _blurred(self, x0: torch.Tensor, t: int) -> torch.Tensor:
        """Eq. 12: the blur that shrinks along the reverse process, scaled to the network's width."""
        if not self.sampling.blur_sigma_max:
            return x0
        scale = x0.shape[-1] / REFERENCE_WIDTH
        sigma = (
            blur_sigma(t, self.noise_schedule.steps, self.sampling.blur_sigma_min, self.sampling.blur_sigma_max) * scale
        )
        kernel = max(3, 2 * round((self.sampling.blur_kernel * scale - 1) / 2) + 1)
        blurred = gaussian_blur(x0, sigma, kernel)
        return renormalise_peak(blurred, x0) if self.sampling.renormalise else blurred


def _spreads(samples: list[LandmarkEstimate]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the samples leave open by themselves, on average, and the covariance of their points: (B,N,2,2) both."""
    within = torch.stack([sample.within for sample in samples if sample.within is not None]).mean(0)
    return within, samples_covariance(torch.stack([sample.points for sample in samples]))


def to_unit(x0: torch.Tensor) -> torch.Tensor:
    """Map an estimate of x0 in [-1, 1] to [0, 1], clamped."""
    return ((x0 + 1) / 2).clamp(0, 1)
