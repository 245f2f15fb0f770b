"""Finders whose prediction can be translated: the same layers and steps, without looks at values and without seeds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch

from landmark_diffusion.diffusion.positions import PositionLevel, step_weights
from landmark_diffusion.diffusion.samplers import Noise
from landmark_diffusion.export.traced.joint import joint_maps, propagate
from landmark_diffusion.export.traced.layers import with_exported_layers
from landmark_diffusion.export.traced.loop import Tensors, loop
from landmark_diffusion.finders.diffusion_heatmap import DiffusionHeatmap
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.finders.joint_guess import JointGuess, guess_jointly
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.finders.position_diffusion import FirstGuess, PositionDiffusion
from landmark_diffusion.heatmaps.decoders import decode
from landmark_diffusion.heatmaps.losses import spatial_softmax
from landmark_diffusion.heatmaps.moments import map_covariance
from landmark_diffusion.heatmaps.shape_prior import ShapePrior
from landmark_diffusion.models.windows import cut_windows_of, levels_of

NOISE = "noise"
"""What of a batch holds the draws of a chain, (draws, ...): a graph has no generator that is ours."""


def traced(module: Finder) -> Finder:
    """Copy a finder, on the CPU, to one that finds the same and that torch's exporter can follow."""
    made = with_exported_layers(copy.deepcopy(module).cpu().eval())
    if isinstance(made, PositionDiffusion) and made.joint.enabled:
        if made.shape_prior.is_set:
            made.shape_prior.__class__ = _KnownPrior
        else:
            made.joint = replace(made.joint, enabled=False)
    for kind, mixin in _MIXINS.items():
        if isinstance(made, kind):
            undecorated = _undecorated(type(made)) | {"trained_by": module.class_name()}
            made.__class__ = cast("type[Finder]", type(f"Traced{kind.__name__}", (mixin, type(made)), undecorated))
    return made


def _undecorated(kind: type[Finder]) -> dict[str, Any]:
    """Methods without torch.no_grad: the exporter loses loops between places where it is entered and left."""
    found = {name: getattr(kind, name) for name in ("find", "predict_maps", "reverse_process") if hasattr(kind, name)}
    return {name: method.__wrapped__ for name, method in found.items() if hasattr(method, "__wrapped__")}


def drawn(batch: Batch) -> Noise:
    """Give the draws of ``batch["noise"]`` one after another, (1, ...) each; zeros where there is none."""
    place = -1

    def draw() -> torch.Tensor:
        nonlocal place
        place += 1
        if batch.get(NOISE) is None:
            return torch.zeros(())
        found: torch.Tensor = batch[NOISE][place : place + 1]
        return found

    return draw


class _KnownPrior(ShapePrior):
    """A prior that was fitted."""

    @property
    def is_set(self) -> bool:
        """Yes, without a look at its values."""
        return True


class _FromBatch:
    """Takes its noise from the batch, all chains of an image from one list."""

    def _noise_source(self, batch: Batch, sample: int) -> Noise:
        if sample == 0:
            batch["draw"] = drawn(batch)
        found: Noise = batch["draw"]
        return found


class _Read(NamedTuple):
    """Where y_0 is by one evaluation, as ``diffusion.positions.Estimate``."""

    point: torch.Tensor
    moments: torch.Tensor

    def covariance(self) -> torch.Tensor:
        """Covariance (B, N, 2, 2) about the point."""
        return self.moments


class _Positions(_FromBatch):
    """PositionDiffusion whose chain is a loop of the graph, with the joint guess as a graph."""

    def _guess_jointly(self: Any, maps: torch.Tensor, gone: torch.Tensor | None) -> JointGuess:
        return guess_jointly(maps, self.shape_prior, self.joint, gone, propagate, joint_maps)

    def _chain(
        self: Any, view: FirstGuess, batch: Batch, count: int, sample: int
    ) -> Iterator[tuple[PositionLevel, torch.Tensor, _Read]]:
        schedule, options = self._schedule(batch["image"].shape[-1]), self.sampling
        levels = schedule.levels(options.start_sigma, options.end_sigma, count - 1)
        noise = self._noise_source(batch, sample)
        start = view.points + options.start_noise * (options.start_sigma * schedule.unit) * noise()
        after = [step_weights(here.sigma, later.sigma, options.eta) for here, later in pairwise(levels)]
        rows = torch.tensor([[*level, *step] for level, step in zip(levels, [*after, (0.0, 0.0)], strict=True)])
        draws = torch.stack([noise() + torch.zeros_like(start) for _ in after] + [torch.zeros_like(start)])

        def evaluate(state: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
            position, draw = state[0], row[1]
            t, sigma, kept, spread = row[0].unbind()
            found = self._read(view, position, t[None], sigma[None], levels[0].sigma)
            following = found.point + kept * (position - found.point) + spread * draw
            return (following,), (position.clone(), found.point.clone(), found.moments)

        places, points, moments = loop(evaluate, (start,), (rows, draws))
        for number, level in enumerate(levels):
            yield level, places[number], _Read(points[number], moments[number])

    def _read(
        self: Any, view: FirstGuess, position: torch.Tensor, t: torch.Tensor, sigma: torch.Tensor, widest: float
    ) -> _Read:
        """Where y_0 is by the windows around ``position`` (1,N,2) at t (1,) and sigma (1,), at most ``widest``."""
        windows, pixel = self.windows, self._pixel(sigma)
        sizes = (1.0, windows.wide) if windows.wide else (1.0,)
        seen = [
            cut_windows_of(
                view.pyramid[: levels_of(self._pixel(widest) * wide, len(view.pyramid))], position, pixel * wide,
                windows.size,
            )
            for wide in sizes
        ]  # fmt: skip
        log_p = self._evidence_of(torch.cat(seen, 2), t).float() + self._log_gaussian()
        if self.sampling.prior_weight:
            log_p = log_p + self.sampling.prior_weight * self._prior_of(view, position, pixel)
        maps = spatial_softmax(log_p)
        mean = decode(maps, "expectation")  # in window pixels from its first one
        return _Read(position + pixel * (mean - (windows.size - 1) / 2), pixel**2 * map_covariance(maps, mean))

    def _prior_of(self: Any, view: FirstGuess, position: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
        maps = view.log_prior.flatten(0, 1)[:, None]
        places = self._to_coarse(position).flatten(0, 1)[:, None]
        found = cut_windows_of([maps], places, (pixel / self.coarse_factor).expand(len(maps)), self.windows.size)
        return found.view(*position.shape[:2], *self.offsets.shape[:2])


_MIXINS: dict[type[Finder], type[_FromBatch]] = {PositionDiffusion: _Positions, DiffusionHeatmap: _FromBatch}


def uses_noise(module: Finder) -> bool:
    """Tell whether a prediction depends on draws."""
    if isinstance(module, PositionDiffusion):
        return module.sampling.steps > 1 and bool(module.sampling.start_noise or module.sampling.eta)
    return isinstance(module, DiffusionHeatmap) and module.diffusion


def draws_maps(module: Finder) -> bool:
    """Tell whether a draw is of whole maps, so that a chain has to be written out step by step."""
    return uses_noise(module) and not isinstance(module, PositionDiffusion)


def drawn_noise(module: Finder, size: tuple[int, int], batch: Batch | None = None) -> torch.Tensor:
    """Give the draws of one image (draws, N, 2) or (draws, N, H, W), all chains of it; ``size`` is (width, height).

    They are those that ``module`` takes itself for ``batch``, one image and its key; without one, zeros.
    """
    steps, samples = module.evaluations()
    shape: tuple[int, ...]
    if isinstance(module, PositionDiffusion):
        shape, each = (module.num_landmarks, 2), steps - 1
    else:
        assert isinstance(module, DiffusionHeatmap)
        options = module.sampling
        shape = (module.num_landmarks, *size[::-1])
        each = steps if options.sampler == "ddpm" or options.eta else 1
    if batch is None:
        return torch.zeros(samples * each, *shape)
    sources = [module._noise_source(batch, sample) for sample in range(samples)]
    return torch.cat([source() for source in sources for _ in range(each)])
