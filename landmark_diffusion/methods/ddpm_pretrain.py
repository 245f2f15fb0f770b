"""DDPMPretrainModule: learn radiographs without labels by diffusion, so that few labels suffice afterwards.

Di Via, Odone and Pastore, "Self-supervised pre-training with diffusion model for few-shot landmark detection in x-ray
images" (paper B), stage 1.
"""

from __future__ import annotations

from dataclasses import replace
from inspect import currentframe
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

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
from landmark_diffusion.methods.ddpm_options import (
    DrawnWindows,
    FeatureAlignment,
    GeneratedImages,
    SetCondition,
    uniform_of,
)
from landmark_diffusion.methods.training import TrainedModule, no_landmarks
from landmark_diffusion.models.network import NetworkFactory, build_network, described
from landmark_diffusion.models.presets import PAPER_B

NOISE = NoiseOptions(steps=500)
"""Paper B section 4.2."""
_NOISE_DRAW, _IMAGE_DRAW, _WINDOW_DRAW = range(3)
"""What is drawn for one image by its place, each from a stream of its own."""


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
        condition: whether the network is told which data set an image is of, by its name.
        alignment: a loss that draws its features with and without that together.
        windows: learn random windows of the images, as the window network of PositionDiffusionModule sees them.
        kwargs: optimisation.
    """

    _places: torch.Tensor | None = None
    """Place among the condition's sets of each of the data's; None: they are the same."""
    _aligns = True
    """Whether the run has come to where the alignment acts."""

    def __init__(
        self,
        num_landmarks: int = 0,
        network: NetworkFactory = PAPER_B,
        noise: NoiseOptions = NOISE,
        parameterisation: Parameterisation = "epsilon",
        self_conditioning: bool = False,
        image_range: tuple[float, float] = (-1.0, 1.0),
        sampling: GeneratedImages = GeneratedImages(),
        condition: SetCondition = SetCondition(),
        alignment: FeatureAlignment = FeatureAlignment(),
        windows: DrawnWindows = DrawnWindows(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        network = described(network, PAPER_B)
        noise = as_group(NoiseOptions, noise, "model.noise", NOISE)
        self.sampling = as_group(GeneratedImages, sampling, "model.sampling")
        self.condition = as_group(SetCondition, condition, "model.condition")
        self.alignment = as_group(FeatureAlignment, alignment, "model.alignment")
        self.windows = as_group(DrawnWindows, windows, "model.windows")
        self.keep_options(
            currentframe(), network=network, noise=noise, sampling=self.sampling, condition=self.condition,
            alignment=self.alignment, windows=self.windows,
        )  # fmt: skip
        check_parameterisation(parameterisation, noise.zero_terminal_snr)
        if not 1 <= self.sampling.steps <= noise.steps:
            raise UserError(
                f"model.sampling.steps: found {self.sampling.steps}, expected 1 to noise.steps ({noise.steps})"
            )
        self.views, self.patch = (self.windows.views, self.windows.patch) if self.windows.count else (1, 1)
        channels = self.views * self.patch**2
        self.network = build_network(
            network, (2 if self_conditioning else 1) * channels, channels, time_embedding=True,
            condition_channels=len(self.condition.sets),
        )  # fmt: skip
        self.noise_schedule = noise.schedule_of_levels()
        self.parameterisation: Parameterisation = parameterisation
        self.self_conditioning = self_conditioning
        self.image_range = check_range(image_range)
        self._check_alignment()

    def _check_alignment(self) -> None:
        """Raise UserError where there is nothing to align."""
        if self.alignment.weight and not self.condition.sets:
            raise UserError(
                f"model.alignment.weight: found {self.alignment.weight:g}, but the network has no condition with and "
                "without which to compare its features; name the data's sets in model.condition.sets, or set it to 0"
            )
        if self.alignment.weight and not hasattr(self.network, "with_features"):
            raise UserError(
                f"model.alignment.weight: a {type(self.network).__name__} does not give its features (with_features, "
                "docs/architecture.md); set it to 0"
            )

    def setup(self, stage: str) -> None:
        """Find the data's sets among those of the condition, by their names."""
        data = getattr(self.trainer, "datamodule", None)
        if self.condition.sets and data is not None:
            self._places = torch.tensor(self.condition.places(data.source.set_names()))

    def forward(
        self, x_t: torch.Tensor, t: torch.Tensor, earlier: torch.Tensor | None = None,
        condition: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Run the network on x_t (B,1,H,W), or windows (B,views,P,P), at t (B,): of that shape, float32 or better.

        With self-conditioning beside an earlier estimate of x0; ``condition`` (B,S) is one-hot over the condition's
        sets, all 0 or None where the network is not to be told.
        """
        output: torch.Tensor = self.network(*self._inputs(x_t, t, earlier, condition))
        return F.pixel_shuffle(output, self.patch)

    def _inputs(
        self, x_t: torch.Tensor, t: torch.Tensor, earlier: torch.Tensor | None, condition: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """What the network itself is given."""
        if self.self_conditioning:
            x_t = torch.cat([x_t, torch.zeros_like(x_t) if earlier is None else earlier], 1)
        x_t = F.pixel_unshuffle(x_t, self.patch)
        if not self.condition.sets:
            return x_t, t
        return x_t, t, x_t.new_zeros(len(x_t), len(self.condition.sets)) if condition is None else condition

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Eq. 5 for a step t drawn uniformly for each image, or window; the alignment beside it where it acts."""
        image = batch["image"]
        drawn = torch.rand(len(image), self.windows.draws, device=image.device) if self.windows.count else None
        x0 = self._seen(image, drawn)
        t = torch.randint(0, self.noise_schedule.steps, (len(x0),), device=x0.device)
        noise, conditioned = torch.randn_like(x0), torch.rand(()).item() < 0.5
        told = sets = self._sets(batch, len(x0))
        if sets is not None:
            told = sets * (torch.rand(len(sets), 1, device=sets.device) >= self.condition.dropped)
        loss = self._squared_errors(x0, t, noise, conditioned, told).mean()
        if sets is None or not self.alignment.weight or not self._aligns:
            return {"loss": loss}
        alignment = self.feature_difference(x0, sets)
        return {"loss": loss + self.alignment.weight * alignment, "mse": loss, "alignment": alignment}

    def feature_difference(self, x0: torch.Tensor, sets: torch.Tensor) -> torch.Tensor:
        """Mean squared difference of the features of x0 (B,C,H,W), noised, with and without its sets (B,S)."""
        found = []
        for step in self.alignment.steps(self.noise_schedule.steps):
            t = torch.full((len(x0),), step, device=x0.device)
            x_t = add_noise(self.noise_schedule, x0, torch.randn_like(x0), t)
            with_set, without = (
                self.network.with_features(*self._inputs(x_t, t, None, each))[1]  # type: ignore[operator]
                for each in (sets, None)
            )
            with torch.autocast(x0.device.type, enabled=False):
                found.append((full_precision(with_set) - full_precision(without)).square().mean())
        return torch.stack(found).mean()

    def image_losses(self, batch: Batch) -> torch.Tensor:
        """The same loss, (B,), for steps spread over 0 ... T-1 by the image's place and noise keyed to the image."""
        image, indices = batch["image"], [int(i) for i in batch["index"]]
        drawn = None
        if self.windows.count:
            seeds = [evaluation_seed(self.seed, i, _WINDOW_DRAW) for i in indices]
            drawn = uniform_of(keyed_noise(seeds, (self.windows.draws,), image.device)())
        x0 = self._seen(image, drawn).unflatten(0, (len(image), -1))
        seeds = [evaluation_seed(self.seed, i, _NOISE_DRAW) for i in indices]
        noise = keyed_noise(seeds, x0.shape[1:], x0.device)()
        # the golden ratio's multiples fill [0, 1) evenly, however many images, or windows of them, there are
        numbers = batch["index"].double()[:, None] * x0.shape[1] + torch.arange(x0.shape[1], device=x0.device)
        places = (numbers * 0.6180339887498949 + 0.5).remainder(1.0).flatten()
        t = (places * self.noise_schedule.steps).long().to(x0.device)
        x0, noise = x0.flatten(0, 1), noise.flatten(0, 1)
        errors = self._squared_errors(x0, t, noise, self.self_conditioning, self._sets(batch, len(x0)))
        found: torch.Tensor = errors.unflatten(0, (len(image), -1)).mean(1)
        return found

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Key the noise, and find out whether the alignment acts."""
        super().on_train_batch_start(batch, batch_idx)
        if self.alignment.weight:
            begin = self.alignment.begins * float(self.trainer.estimated_stepping_batches)
            self._aligns = self.trainer.global_step >= begin

    def on_predict_start(self) -> None:
        """Refuse: there are no landmarks to predict."""
        raise no_landmarks("DDPMPretrainModule")

    def _seen(self, image: torch.Tensor, drawn: torch.Tensor | None) -> torch.Tensor:
        """What is denoised: the images (B,1,H,W), or windows (B count,views,P,P) by the numbers drawn for them."""
        if drawn is not None:
            image = self.windows.draw(image, drawn).flatten(0, 1)
        return scale_image(image, self.image_range)

    def _sets(self, batch: Batch, count: int) -> torch.Tensor | None:
        """One-hot sets (count,S) of images, or of their windows; None without a condition."""
        if not self.condition.sets:
            return None
        places = batch["set"] if self._places is None else self._places.to(batch["set"].device)[batch["set"]]
        one_hot = F.one_hot(places, len(self.condition.sets)).to(batch["image"].dtype)
        return one_hot.repeat_interleave(count // len(places), 0)

    def _squared_errors(
        self, x0: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, conditioned: bool, sets: torch.Tensor | None
    ) -> torch.Tensor:
        """Mean squared error over the pixels of each image, (B,); ``conditioned`` on an earlier estimate."""
        x_t = add_noise(self.noise_schedule, x0, noise, t)
        earlier = None
        if self.self_conditioning and conditioned:
            with torch.no_grad():
                earlier = self._x0(self._predicted(x_t, t, None, sets), x_t, t)
        output = self._predicted(x_t, t, earlier, sets)
        wanted = network_target(self.noise_schedule, self.parameterisation, x0, noise, t)
        with torch.autocast(output.device.type, enabled=False):
            return (full_precision(output) - full_precision(wanted)).square().mean((1, 2, 3))

    def _predicted(
        self, x_t: torch.Tensor, t: torch.Tensor, earlier: torch.Tensor | None, sets: torch.Tensor | None
    ) -> torch.Tensor:
        found: torch.Tensor = self(x_t, t, earlier) if sets is None else self(x_t, t, earlier, sets)
        return found

    def _x0(self, output: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The estimate of x0, cut to the range that images have."""
        x0 = x0_from_output(self.noise_schedule, self.parameterisation, output, x_t, t)
        return x0.clamp(*self.image_range)

    @torch.no_grad()
    def generate(
        self, count: int, size: tuple[int, int], steps: int | None = None, seed: int | None = None,
        of_set: str | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Generate radiographs (count,1,H,W) in [0,1] on the CPU; ``size`` is (W, H). Windows have their own size.

        ``steps`` network evaluations (None: ``sampling.steps``); image i depends on (seed, i) alone, and torch's own
        random state is left as it is. ``of_set`` is one of the condition's sets; None leaves it open.
        """
        chosen = self.seed if seed is None else seed
        width, height = (self.windows.size, self.windows.size) if self.windows.count else size
        seeds = [evaluation_seed(chosen, i, _IMAGE_DRAW) for i in range(count)]
        noise = keyed_noise(seeds, (self.views, height, width), self.device)
        sets = None if of_set is None else self._all_of(of_set, count)
        earlier: list[torch.Tensor] = []

        def denoise(x_t: torch.Tensor, level: Level) -> torch.Tensor:
            t = level.steps(x_t)
            x0 = self._x0(self._predicted(x_t, t, earlier[0] if earlier else None, sets), x_t, t)
            earlier[:] = [x0]
            return x0

        sample = ddim_sample if self.sampling.sampler == "ddim" else ddpm_sample
        levels = self.noise_schedule.levels(timesteps(self.noise_schedule.steps, steps or self.sampling.steps))
        *_, (_, _, x0) = sample(denoise, noise(), levels, noise)
        low, high = self.image_range
        return ((x0[:, :1] - low) / (high - low)).float().cpu()

    def _all_of(self, name: str, count: int) -> torch.Tensor:
        """One-hot sets (count,S) of images that are all of one set."""
        (place,) = self.condition.places((name,))
        return F.one_hot(torch.full((count,), place, device=self.device), len(self.condition.sets)).float()

    def generated_sets(self) -> tuple[str, ...]:
        """Give the sets of which images can be asked for; none without a condition."""
        return self.condition.sets

    def comparable(self, images: np.ndarray) -> np.ndarray:
        """Give what generated images are like: the images (M,H,W) uint8, or a random window (M,P,P) of each."""
        if not self.windows.count:
            return images
        seeds = [evaluation_seed(self.seed, place, _WINDOW_DRAW) for place in range(len(images))]
        one = replace(self.windows, count=1)
        grey = torch.from_numpy(images)[:, None].float() / 255
        windows = one.draw(grey, uniform_of(keyed_noise(seeds, (one.draws,), torch.device("cpu"))()))
        found: np.ndarray = (windows[:, 0, 0] * 255).round().clamp(0, 255).byte().numpy()
        return found
