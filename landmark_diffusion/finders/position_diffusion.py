"""PositionDiffusion: a diffusion that moves the hot pixel of each heatmap, from coarse to fine.

Kept of paper A (Wyatt and Voiculescu): one hot pixel a landmark, x0-prediction, the spatial likelihood (eq. 10), a
blur that shrinks along the reverse process (eq. 12). Changed: the noise displaces the pixel (diffusion/positions.py)
where paper A hides it, so that x_t says where to look; the network sees the image there, at a resolution that follows
the noise; and the chain starts from a first guess, the informed prior that the paper wishes for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import currentframe
from typing import Any, NamedTuple, get_args

import torch
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.core.groups import as_group, at_least_one
from landmark_diffusion.core.seeds import evaluation_seed
from landmark_diffusion.diffusion.positions import Aggregate, PositionLevel, PositionSchedule, conclude, position_sample
from landmark_diffusion.diffusion.samplers import Noise, keyed_noise
from landmark_diffusion.finders.diffusion_heatmap import REFERENCE_WIDTH, ReverseStep
from landmark_diffusion.finders.finder import Finder, LandmarkEstimate
from landmark_diffusion.finders.heatmap_finetune import NullTime
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.finders.joint_guess import Joint, JointGuess, guess_jointly
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.finders.windows import Sigma, Windows
from landmark_diffusion.heatmaps.losses import spatial_softmax
from landmark_diffusion.heatmaps.moments import map_covariance, samples_covariance
from landmark_diffusion.heatmaps.shape_prior import ShapePrior
from landmark_diffusion.heatmaps.window_map import WindowMap
from landmark_diffusion.models.network import NetworkFactory, build_network, described
from landmark_diffusion.models.presets import PAPER_A, WINDOWS
from landmark_diffusion.models.windows import cut_windows, draw_windows


class FirstGuess(NamedTuple):
    """What is computed once an image: its pyramid, the coarse maps, log p and points, in network pixels.

    ``joint`` is what stands behind maps of all landmarks together; None where each landmark has its own.
    """

    pyramid: list[torch.Tensor]
    maps: torch.Tensor
    log_prior: torch.Tensor
    points: torch.Tensor
    joint: JointGuess | None = None


@dataclass(frozen=True)
class PositionNoise:
    """The noise of training: how far positions are moved.

    Args:
        steps: T.
        sigma_min: sigma_t at t = 0, in pixels of a 640-wide network.
        sigma_max: sigma_t at t = T-1, likewise.
        draws: how many t, each with its noise, an image's windows are drawn at in an update.

    Raises UserError for values that make no sense.
    """

    steps: int = 200
    sigma_min: float = 3.0
    sigma_max: float = 32.0
    draws: int = 2

    def __post_init__(self) -> None:
        at_least_one("model.noise", self, "draws")
        self.schedule()

    def schedule(self, unit: float = 1.0) -> PositionSchedule:
        """Give sigma_t; ``unit`` is the size in pixels of a pixel at 640 wide."""
        return PositionSchedule(self.sigma_min, self.sigma_max, self.steps, unit)


@dataclass(frozen=True)
class PositionSampling:
    """The chain of a prediction.

    Args:
        steps: network evaluations in all, the first one's included; 1 is the baseline.
        validation_steps: the same for validation within fit.
        start_sigma: where the chain starts, in pixels of a 640-wide network: near the first guess's error.
        end_sigma: where it ends, likewise.
        start_noise: how far the start is noised, in start_sigma: 0 starts at the first guess, 1 draws around it.
        eta: of the reverse steps: 0 deterministic (DDIM), 1 ancestral.
        samples: chains an image, whose points are averaged; they differ where start_noise or eta is above 0.
        prior_weight: exponent of p_coarse; 0 leaves it out.
        aggregate: the point is the "last" evaluation's, or the "mean" of all windows' evaluations.

    Raises UserError for values that make no sense.
    """

    steps: int = 8
    validation_steps: int = 8
    start_sigma: float = 8.0
    end_sigma: float = 3.0
    start_noise: float = 0.0
    eta: float = 0.0
    samples: int = 1
    prior_weight: float = 1.0
    aggregate: Aggregate = "mean"

    def __post_init__(self) -> None:
        at_least_one("model.sampling", self, "steps", "validation_steps", "samples")
        if not 0 <= self.eta <= 1 or self.start_noise < 0:
            raise UserError(
                f"model.sampling.eta {self.eta:g} and start_noise {self.start_noise:g}: expected 0 to 1, and 0 or more"
            )
        if self.aggregate not in ("last", "mean"):
            raise UserError(f"model.sampling.aggregate: found {self.aggregate!r}, expected last or mean")


@dataclass(frozen=True)
class DDPMStart:
    """What a network that begins as a DDPM takes of the DDPM's steps and of its condition, as constants.

    Args:
        time: "zero" (no embedding of a step is added), "first_step" (that of t = 0, an image nearly without noise), or
            "removed" (nothing is left of that branch, nor of the condition).
        set: which of the sets that a pooled DDPM was conditioned on; None: it was not told.

    Raises UserError for values that are not known.
    """

    time: NullTime = "zero"
    set: str | None = None

    def __post_init__(self) -> None:
        check_choice("model.ddpm_start.time", self.time, get_args(NullTime))
        if self.set is not None and self.time == "removed":
            raise UserError(
                f"model.ddpm_start.set: found {self.set!r:.60} with time removed, which leaves nothing of it; take "
                "time zero or first_step"
            )


class PositionDiffusion(Finder):
    """Find landmarks by diffusion of positions: a first guess from the whole image, refined in windows that shrink.

    Evaluation 1 is a UNet on the image made ``coarse_factor`` times smaller, which is the baseline without diffusion:
    its heatmaps are the first guess and the informed prior. Each further evaluation is a light UNet on windows around
    the positions y_t. A window reaches ``window_reach`` sigma_t to each side, so that its pixels shrink along the
    chain; its output is the evidence l(p | y_t), from which

        p(y_0 | y_t, image) ~ exp(l) N(y_t; y_0, sigma_t^2) p_coarse(y_0 | image)

    The last factor acts in prediction alone: its network has learned the training images, so a window network that saw
    it in training would lean on it (docs/experiments). Pixel amounts are for a network 640 wide and follow its width.

    Args:
        num_landmarks: N; linked from the data module.
        coarse_factor: by how much the first network's image is smaller than ``data.size``.
        network: that of the first guess.
        window_network: that of the windows; it takes steps t and which landmark is looked for.
        windows, noise, sampling: what the windows see, how positions are moved in training, and the chain.
        joint: how the landmarks' mutual places enter the first guess; learned from the training points before training.
        outside: teach the first network to say that a landmark lies outside the image; for recipes that cut.
        window_weight: weight of the windows' likelihood beside the coarse network's in the loss.
        image_range: the grey levels 0 and 1 of a batch become these for both networks; as in pre-training.
        window_pretrained: checkpoint of a DDPMPretrainModule of windows, which the window network begins as.
        ddpm_start: what becomes of the parts that a DDPM has and these networks lack.
        kwargs: decoding (of the coarse maps), optimisation and the start (``pretrained``): a model of this method, or a
            checkpoint of a DDPMPretrainModule of whole images, which the first network begins as.

    Raises UserError for options that make no sense.
    """

    trained_by = "PositionDiffusionModule"
    diffusion = True
    main_variant = "multi-step"
    fast_steps = 2

    def __init__(
        self,
        num_landmarks: int,
        coarse_factor: int = 4,
        network: NetworkFactory = PAPER_A,
        window_network: NetworkFactory = WINDOWS,
        windows: Windows = Windows(),
        noise: PositionNoise = PositionNoise(),
        sampling: PositionSampling = PositionSampling(),
        joint: Joint = Joint(),
        outside: bool = False,
        window_weight: float = 1.0,
        image_range: tuple[float, float] = (0.0, 1.0),
        window_pretrained: str | None = None,
        ddpm_start: DDPMStart = DDPMStart(),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        network = described(network, PAPER_A)
        window_network = described(window_network, WINDOWS, "model.window_network")
        self.coarse_factor, self.window_weight = coarse_factor, window_weight
        self.windows = as_group(Windows, windows, "model.windows")
        self.noise = as_group(PositionNoise, noise, "model.noise")
        self.sampling = as_group(PositionSampling, sampling, "model.sampling")
        self.joint, self.outside = as_group(Joint, joint, "model.joint"), outside
        self.image_range, self.window_pretrained = check_range(image_range), window_pretrained
        self.ddpm_start = as_group(DDPMStart, ddpm_start, "model.ddpm_start")
        self.keep_options(
            currentframe(), network=network, window_network=window_network, windows=self.windows, noise=self.noise,
            sampling=self.sampling, joint=self.joint, ddpm_start=self.ddpm_start,
        )  # fmt: skip
        self._check_options()
        self.network = build_network(network, 1, num_landmarks)
        self.window_network = build_network(
            window_network,
            in_channels=self.windows.views * self.windows.patch**2,
            out_channels=self.windows.patch**2,
            time_embedding=True,
            condition_channels=num_landmarks,
            where="model.window_network",
        )
        self.shape_prior = ShapePrior(num_landmarks)
        # on the CPU: arithmetic on the meta device (network_size.py) makes torch load its compiler, for seconds
        size = self.windows.size
        steps = torch.arange(size, device="cpu") - (size - 1) / 2
        self.register_buffer("steps", steps, persistent=False)
        self.register_buffer("offsets", torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1), persistent=False)
        self.steps: torch.Tensor  # (P,) window pixels from the centre
        self.offsets: torch.Tensor  # (P, P, 2) the same in both directions, (x, y)

    def _check_options(self) -> None:
        """Raise UserError for options that make no sense together."""
        at_least_one("model", self, "coarse_factor")
        if self.window_weight < 0:
            raise UserError(f"model.window_weight: found {self.window_weight:g}, expected 0 or more")
        low, high = self.noise.sigma_min, self.noise.sigma_max
        if not low <= self.sampling.end_sigma <= self.sampling.start_sigma <= high:
            raise UserError(
                f"model.sampling.start_sigma {self.sampling.start_sigma:g} and end_sigma {self.sampling.end_sigma:g}: "
                f"expected noise.sigma_min ({low:g}) <= end_sigma <= start_sigma <= noise.sigma_max ({high:g})"
            )

    def landmark_axes(self) -> dict[str, tuple[int, int]]:
        """Say where the landmarks are: rows of the coarse network's head, columns of the windows' condition."""
        head, condition = getattr(self.network, "head", None), getattr(self.window_network, "condition_layer", None)
        rows = {f"network.{head}.{part}": (0, 0) for part in ("weight", "bias") if head}
        return rows | ({f"window_network.{condition}.weight": (1, 0)} if condition else {})

    def take_shape(
        self, mean: torch.Tensor | None, covariance: torch.Tensor | None, places: Sequence[int | None]
    ) -> None:
        """Take over how a start's landmarks lie to each other."""
        if mean is not None and covariance is not None:
            self.shape_prior.take(mean, covariance, places)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the coarse network on image (B,1,H,W): logits (B,N,H/coarse_factor,W/coarse_factor), float32."""
        coarse = F.avg_pool2d(image, self.coarse_factor, ceil_mode=True, count_include_pad=False)
        logits: torch.Tensor = self.network(scale_image(coarse, self.image_range))
        return logits

    def _to_coarse(self, points: torch.Tensor) -> torch.Tensor:
        """Network pixels (..., 2) as pixels of the coarse network's image."""
        return (points + 0.5) / self.coarse_factor - 0.5

    def _from_coarse(self, points: torch.Tensor) -> torch.Tensor:
        """Pixels of the coarse network's image (..., 2) as network pixels."""
        return (points + 0.5) * self.coarse_factor - 0.5

    def _schedule(self, width: int) -> PositionSchedule:
        return self.noise.schedule(width / REFERENCE_WIDTH)

    def _pyramid(self, image: torch.Tensor) -> list[torch.Tensor]:
        """As many halvings as the widest window's pixels ask for."""
        return self.windows.pyramid(image, self.noise.sigma_max * image.shape[-1] / REFERENCE_WIDTH)

    def _pixel(self, sigma: Sigma) -> Sigma:
        """Network pixels that a window's pixel is wide at sigma."""
        return self.windows.pixel(sigma)

    def _log_gaussian(self) -> torch.Tensor:
        """log N(y_t; p, sigma^2) over the pixels p of a window around y_t, up to a constant: (P,P) at any sigma."""
        return -(self.offsets * self._pixel(1.0)).square().sum(-1) / 2

    def _evidence(
        self, pyramid: list[torch.Tensor], positions: torch.Tensor, sigma: torch.Tensor, t: torch.Tensor
    ) -> torch.Tensor:
        """l: (B,N,P,P) from the windows around positions (B,N,2) at sigma (B,) in network pixels and t (B,)."""
        return self._evidence_of(self.windows.cut(pyramid, positions, sigma), t)

    def _evidence_of(self, windows: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """l: (B,N,P,P) from windows (B,N,views,P,P) at t (B,)."""
        batch, count = windows.shape[:2]
        seen = windows.flatten(0, 1).to(self.steps.dtype)
        patches = F.pixel_unshuffle(scale_image(seen, self.image_range), self.windows.patch)
        which = torch.eye(count, device=windows.device).repeat(batch, 1).to(patches.dtype)
        logits = self.window_network(patches, t.repeat_interleave(count), which)
        return F.pixel_shuffle(logits, self.windows.patch).view(batch, count, self.windows.size, self.windows.size)

    def _evaluations(self, in_fit: bool) -> int:
        return self.sampling.validation_steps if in_fit else self.sampling.steps

    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        """Give the names of what ``find`` gives: the first evaluation's points, and the chain's."""
        return ("single-step", "multi-step") if self._evaluations(in_fit) > 1 else ("single-step",)

    def evaluations(self) -> tuple[int, int]:
        """How many network evaluations an image takes, and how many samples."""
        return (self.sampling.steps, self.sampling.samples)

    def choose_sampling(self, steps: int | None = None, samples: int | None = None) -> None:
        """Take ``steps`` network evaluations and ``samples`` chains an image; None leaves one as it is.

        Several chains differ by their noise alone: where the options have none, the start is drawn around the first
        guess (start_noise 1) and the steps are ancestral (eta 1).
        """
        for name, value in (("steps", steps), ("samples", samples)):
            if value is not None and value < 1:
                raise UserError(f"{name}: found {value}, expected at least 1")
        chosen = replace(self.sampling, steps=steps or self.sampling.steps, samples=samples or self.sampling.samples)
        if chosen.steps == 1 and chosen.samples > 1:
            raise UserError("samples: the first evaluation draws nothing, so several samples need 2 steps or more")
        if chosen.samples > 1 and not (chosen.start_noise or chosen.eta):
            chosen = replace(chosen, start_noise=1.0, eta=1.0)
        self.sampling = chosen

    @torch.no_grad()
    def find(self, batch: Batch, in_fit: bool = False) -> dict[str, LandmarkEstimate]:
        """Points after the first evaluation and after the chain, and how far each may be off.

        The chain's ``within`` is what its windows leave open, ``between`` the spread of the chains' points; their sum
        is the covariance of a draw of y_0 from a window of a chain, about the mean of all.
        """
        view = self._look(batch["image"])
        first = map_covariance(view.maps, self._to_coarse(view.points)) * self.coarse_factor**2
        found = {"single-step": self._beside(view, LandmarkEstimate(view.points, first))}
        count = self._evaluations(in_fit)
        if count > 1:
            chains = [self._chain(view, batch, count, sample) for sample in range(self.sampling.samples)]
            answers = [conclude([estimate for *_, estimate in chain], self.sampling.aggregate) for chain in chains]
            points, within = (torch.stack(each) for each in zip(*answers, strict=True))
            chained = LandmarkEstimate(points.mean(0), within.mean(0), samples_covariance(points))
            found["multi-step"] = self._beside(view, chained)
        return found

    def _beside(self, view: FirstGuess, found: LandmarkEstimate) -> LandmarkEstimate:
        """Add what the joint guess knows; a landmark outside the image is where the others say that it is."""
        if view.joint is None:
            return found
        maps, cavity = view.joint
        gone = (maps.outside > 0.5)[..., None]
        points = torch.where(gone, self._from_coarse(cavity.mean.to(found.points)), found.points)
        others = cavity.covariance.to(found.points) * self.coarse_factor**2
        within = None if found.within is None else torch.where(gone[..., None], others, found.within)
        return found._replace(points=points, within=within, outside=maps.outside, missed=maps.missed)

    @torch.no_grad()
    def predict_maps(
        self, batch: Batch, in_fit: bool = False, watch: Callable[[ReverseStep], None] | None = None
    ) -> dict[str, torch.Tensor]:
        """Maps (B,N,H,W) of p(y_0): the first evaluation's, repeated to the network's size, and the chain's last.

        ``watch`` is shown each step of the chain.
        """
        if watch is not None:
            found: dict[str, torch.Tensor] = {}
            for number, step in enumerate(self.reverse_process(batch, self._evaluations(in_fit))):
                watch(step)
                found["multi-step" if number else "single-step"] = step.x0
            return found
        view = self._look(batch["image"])
        height, width = batch["image"].shape[-2:]
        maps = {"single-step": self._enlarged(view.maps, height, width)}
        count = self._evaluations(in_fit)
        if count > 1:
            *_, (_, _, last) = self._chain(view, batch, count, 0)
            maps["multi-step"] = draw_windows(last.probabilities, last.centres, last.pixel, (height, width))
        return maps

    @torch.no_grad()
    def reverse_process(self, batch: Batch, count: int | None = None, sample: int = 0) -> Iterator[ReverseStep]:
        """Run the chain with ``count`` evaluations and yield each as maps: where the hot pixel may be, and x0."""
        view = self._look(batch["image"])
        height, width = batch["image"].shape[-2:]
        first = self._enlarged(view.maps, height, width)
        yield ReverseStep(self.noise.steps - 1, torch.full_like(first, 1 / (height * width)), first, first)
        gaussian = self._log_gaussian().flatten().softmax(0).view_as(self.offsets[..., 0])
        for level, position, estimate in self._chain(view, batch, count or self.sampling.steps, sample):
            x0 = draw_windows(estimate.probabilities, position, estimate.pixel, (height, width))
            x_t = draw_windows(gaussian.expand_as(estimate.probabilities), position, estimate.pixel, (height, width))
            yield ReverseStep(round(level.t), x_t, x0, x0)

    def _enlarged(self, maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
        large = F.interpolate(maps, scale_factor=float(self.coarse_factor), mode="nearest")[..., :height, :width]
        return large / large.sum((-2, -1), keepdim=True).clamp_min(1e-12)

    def _look(self, image: torch.Tensor) -> FirstGuess:
        logits = self(image)
        maps, joint = spatial_softmax(logits), None
        if self.joint.enabled and self.shape_prior.is_set:
            gone = (-logits.float().flatten(-2).logsumexp(-1)).sigmoid() if self.outside else None
            joint = self._guess_jointly(maps, gone)
            log_p = joint.maps.log_maps
            maps = log_p.exp()
        else:
            log_p = F.log_softmax(logits.float().flatten(-2), -1).view_as(logits)
        points = self._from_coarse(self.decode(maps))
        # cut_windows fills with 0 beyond the image: that must be the least likely value there is
        log_prior = log_p - log_p.amin((-2, -1), keepdim=True)
        return FirstGuess(self._pyramid(image), maps, log_prior, points, joint)

    def _guess_jointly(self, maps: torch.Tensor, gone: torch.Tensor | None) -> JointGuess:
        """Weigh the first guess's maps (B,N,H,W) by the prior; ``gone`` (B,N) as ``guess_jointly``'s ``outside``."""
        return guess_jointly(maps, self.shape_prior, self.joint, gone)

    def _noise_source(self, batch: Batch, sample: int) -> Noise:
        """Noise (B,N,2) of a chain, keyed by (seed, image, sample)."""
        seeds = [evaluation_seed(self.seed, int(index), sample) for index in batch["index"]]
        return keyed_noise(seeds, (self.num_landmarks, 2), batch["image"].device)

    def _chain(
        self, view: FirstGuess, batch: Batch, count: int, sample: int
    ) -> Iterator[tuple[PositionLevel, torch.Tensor, WindowMap]]:
        """The evaluations after the first, from start_sigma to end_sigma."""
        schedule = self._schedule(batch["image"].shape[-1])
        levels = schedule.levels(self.sampling.start_sigma, self.sampling.end_sigma, count - 1)
        noise = self._noise_source(batch, sample)
        start = view.points + self.sampling.start_noise * (self.sampling.start_sigma * schedule.unit) * noise()
        return position_sample(partial(self._estimate, view), start, levels, noise, self.sampling.eta)

    def _estimate(self, view: FirstGuess, position: torch.Tensor, level: PositionLevel) -> WindowMap:
        """Where y_0 is, by the windows around y_t (B,N,2) and the first guess."""
        pixel = self._pixel(level.sigma)
        t, sigma = (position.new_full((len(position),), value) for value in level)
        log_p = self._evidence(view.pyramid, position, sigma, t).float() + self._log_gaussian()
        if self.sampling.prior_weight:
            log_p = log_p + self.sampling.prior_weight * self._prior(view, position, pixel)
        return WindowMap(spatial_softmax(log_p), position, pixel)

    def _prior(self, view: FirstGuess, position: torch.Tensor, pixel: float) -> torch.Tensor:
        """log p_coarse (B,N,P,P), up to a constant, at the pixels of the windows around ``position``."""
        maps = view.log_prior.flatten(0, 1)[:, None]  # each landmark's map as an image of its own
        places = self._to_coarse(position).flatten(0, 1)[:, None]
        size = places.new_full((len(maps),), pixel / self.coarse_factor)
        return cut_windows([maps], places, size, self.windows.size).view(*position.shape[:2], *self.offsets.shape[:2])
