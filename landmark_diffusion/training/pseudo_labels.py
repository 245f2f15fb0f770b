"""Pseudo-labels: what the network finds in images that nobody marked, as labels of its further training.

Self-training (Lee 2013; for one labelled cephalogram Quan et al. 2021, "One-shot medical landmark detection"): at some
points of the run the averaged weights look at each unlabelled image as it is and in changed views. A landmark's places
in the views, laid back on the image, are its pseudo-label by their median; those whose views differ the most are left
out. The next epochs draw from all images, and what the method learns of the points beside (``learn_points``) is learned
anew. All of it is a function of the seed and the weights, and is kept in checkpoints: a resumed run goes on as it was.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say
from landmark_diffusion.core.seeds import sample_seed
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.augmentation.warp import AffineMap, affine_map, apply_field
from landmark_diffusion.training.ema import averaged_weights, evaluating
from landmark_diffusion.training.lightning_internals import at_last_batch, is_final_step, planned_steps
from landmark_diffusion.training.processes import gather_objects

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset

ROTATION, SCALE, SHIFT = 8.0, 0.1, 0.04
"""Half the range of the views' turn in degrees, of their size as a share, and of their place as a share of the side."""


@dataclass(frozen=True)
class PseudoLabels:
    """Training on images without labels by what the network finds in them.

    Args:
        rounds: shares of the run's updates, rising, after each of which the images are labelled anew, at the end of an
            epoch; none leaves images without labels out.
        keep: share of a landmark's pseudo-labels that are used: those whose views differ the least.
        views: changed views that an image is looked at in, beside as it is.

    Raises UserError for values that make no sense.
    """

    rounds: tuple[float, ...] = ()
    keep: float = 0.8
    views: int = 4

    def __post_init__(self) -> None:
        rounds = tuple(self.rounds)
        if any(not 0 < share < 1 for share in rounds) or any(a >= b for a, b in pairwise(rounds)):
            raise UserError(
                f"data.pseudo_labels.rounds: found {list(rounds)}, expected rising shares of the updates from 0 to 1"
            )
        if not 0 < self.keep <= 1:
            raise UserError(f"data.pseudo_labels.keep: found {self.keep:g}, expected above 0 and at most 1")
        if self.views < 1:
            raise UserError(
                f"data.pseudo_labels.views: found {self.views}, expected at least 1: they tell what to keep"
            )
        object.__setattr__(self, "rounds", rounds)

    def due(self, done: int, updates: int, total: int) -> bool:
        """Tell whether the round behind ``done`` others waits after so many of the run's updates."""
        return done < len(self.rounds) and updates >= self.rounds[done] * total


@dataclass
class Unlabelled:
    """The images of a training set behind the labelled ones, and what the network has found in them.

    Attributes:
        options: of the labelling.
        labelled: how many images of the set come before them.
        ids: of the images.
        points: (I, N, 2) network pixels in memory that the loader's processes share, NaN where nothing is known; I is
            that of the whole set.
        rounds: labellings behind the run.
    """

    options: PseudoLabels
    labelled: int
    ids: tuple[str, ...]
    points: torch.Tensor
    rounds: int = field(default=0)

    @classmethod
    def behind(cls, options: PseudoLabels, labelled: int, ids: Sequence[str], landmarks: int) -> Unlabelled:
        """Begin with nothing known of the images ``ids``, which come behind so many labelled ones."""
        points = torch.full((labelled + len(ids), landmarks, 2), torch.nan).share_memory_()
        return cls(options, labelled, tuple(ids), points)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"rounds": self.rounds, "ids": list(self.ids), "points": self.points[self.labelled :].clone()}

    def load(self, state: dict[str, Any] | None) -> None:
        """Take up what ``state`` gave; a checkpoint without any begins with nothing known.

        Raises UserError where it was of other images.
        """
        if state is None:
            return
        if list(state["ids"]) != list(self.ids) or state["points"].shape != self.points[self.labelled :].shape:
            raise UserError(
                f"data.pseudo_labels: found {counted(len(self.ids), 'image')} without labels, the checkpoint has "
                f"{len(state['ids'])}, or other ones; continue with the images that it was trained with"
            )
        self.rounds = int(state["rounds"])
        self.points[self.labelled :] = state["points"]

    def take(self, places: np.ndarray) -> tuple[int, float]:
        """Take places (U, V, N, 2) of V views, the first the image as it is, for pseudo-labels of a further round.

        Returns how many points are known now, and the median over all points of how far their views differ, in network
        pixels.
        """
        found, differ = agreed(places, self.options.keep)
        self.points[self.labelled :] = torch.from_numpy(found).to(self.points)
        self.rounds += 1
        return int(np.isfinite(found).all(-1).sum()), float(np.nanmedian(differ))

    def due(self, updates: int, total: int) -> bool:
        """Tell whether a round waits after so many of the run's updates."""
        return self.options.due(self.rounds, updates, total)

    def never(self, epoch: int, total: int) -> int:
        """Count the rounds for which no epoch of ``epoch`` updates ends in time, in a new run of ``total``."""
        come = 0
        for end in range(epoch, total, epoch):
            come += self.options.due(come, end, total)
        return len(self.options.rounds) - come


def agreed(places: np.ndarray, keep: float) -> tuple[np.ndarray, np.ndarray]:
    """Median over the views of places (U, V, N, 2), NaN but for a landmark's share ``keep`` of least difference.

    Returns the points (U, N, 2) and how far the views differ, (U, N): mean distance to the median. Points that a view
    does not know (NaN) are of the others; ties are kept.
    """
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of points that no view knows
        middle = np.nanmedian(places, 1)
        differ = np.nanmean(np.linalg.norm(places - middle[:, None], axis=-1), 1)
        limit = np.nanquantile(differ, keep, axis=0, method="lower")
    used: np.ndarray = np.where((differ <= limit)[..., None], middle, np.nan)
    return used, differ


def views_of(size: tuple[int, int], count: int, seed: int, index: int) -> list[AffineMap]:
    """Maps of an image of ``size`` (width, height) to its views: as it is, and ``count`` drawn ones."""
    rng = np.random.default_rng(sample_seed(seed, 0, index))
    drawn = [
        affine_map(
            size, rng.uniform(-ROTATION, ROTATION), 1 + rng.uniform(-SCALE, SCALE), (0.0, 0.0),
            (rng.uniform(-SHIFT, SHIFT) * size[0], rng.uniform(-SHIFT, SHIFT) * size[1]),
        )
        for _ in range(count)
    ]  # fmt: skip
    return [affine_map(size), *drawn]


def seen_in_views(image: np.ndarray, views: Sequence[AffineMap], find: Callable[[torch.Tensor], Any]) -> np.ndarray:
    """Places (V, N, 2) in the image (H, W) uint8 of what ``find`` finds in its views: (V, 1, H, W) to (V, N, 2)."""
    nothing = np.empty((0, 2))
    shown = [image if view.is_identity else apply_field(image, nothing, view)[0] for view in views]
    found = find(torch.from_numpy(np.stack(shown))[:, None].float() / 255)
    inverse = [np.linalg.inv(view.matrix) for view in views]
    return np.stack([
        (points - view.offset) @ back.T for points, view, back in zip(found, views, inverse, strict=True)
    ])  # fmt: skip


def _unlabelled(trainer: Trainer) -> Unlabelled | None:
    found: Unlabelled | None = getattr(trainer.datamodule, "unlabelled", None)  # type: ignore[attr-defined]
    return found


class LabelUnlabelled(Callback):
    """Label the images without labels where the data ask for it: at the end of the epoch in which a round falls due.

    It stands behind the moving average and before what writes checkpoints, so that one of the epoch's end has the
    labels that the next epoch trains on.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise UserError for a new run in which a round will never come; a continued one is told at its end."""
        unlabelled = _unlabelled(trainer)
        total, batches = planned_steps(trainer), trainer.num_training_batches
        if unlabelled is None or total is None or trainer.global_step or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        epoch = math.ceil(batches / trainer.accumulate_grad_batches)
        if missing := unlabelled.never(epoch, total):
            shares = ", ".join(f"{share:g}" for share in unlabelled.options.rounds)
            raise UserError(
                f"data.pseudo_labels.rounds: found [{shares}], of which {missing} would never come: an epoch has "
                f"{epoch} of the {total} updates, and a round waits for the end of one before the last; give more "
                "updates, a smaller data.samples_per_epoch, or smaller shares"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Label after an epoch's last batch."""
        unlabelled = _unlabelled(trainer)
        if unlabelled is None or not at_last_batch(trainer) or is_final_step(trainer):
            return
        total = planned_steps(trainer)
        if total is not None and unlabelled.due(trainer.global_step, total):
            self._label(trainer, pl_module, unlabelled)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say which rounds never came: at no epoch's end between their share of the updates and the last one."""
        unlabelled = _unlabelled(trainer)
        if unlabelled is None or (missing := len(unlabelled.options.rounds) - unlabelled.rounds) == 0:
            return
        say(
            f"pseudo-labels: {missing} of {counted(len(unlabelled.options.rounds), 'round')} never came: no epoch "
            "ended between its share of the updates and the last one; give smaller shares or data.samples_per_epoch"
        )

    def _label(self, trainer: Trainer, module: LightningModule, unlabelled: Unlabelled) -> None:
        data = trainer.datamodule.stage_dataset("train")  # type: ignore[attr-defined]
        with averaged_weights(trainer, module), evaluating(module), trainer.precision_plugin.forward_context():
            places = self._places(trainer, module, data, unlabelled)
        known, differ = unlabelled.take(places)
        say(
            f"pseudo-labels, round {unlabelled.rounds} of {len(unlabelled.options.rounds)}: {known} points in "
            f"{counted(len(unlabelled.ids), 'image')} without labels; views differ by {differ:.1f} px (median)"
        )
        module.learn_points(data.network_points())  # type: ignore[operator]

    def _places(
        self, trainer: Trainer, module: LightningModule, data: LandmarkTorchDataset, unlabelled: Unlabelled
    ) -> np.ndarray:
        """Places (U, V, N, 2) in the images without labels, each looked at by one process."""
        seed = trainer.datamodule.seed  # type: ignore[attr-defined]
        mine = range(trainer.global_rank, len(unlabelled.ids), trainer.world_size)
        found: dict[int, np.ndarray] = {}
        for place in mine:
            index = unlabelled.labelled + place
            views = views_of(data.size, unlabelled.options.views, seed, index)

            def find(images: torch.Tensor, index: int = index) -> np.ndarray:
                return module.find_points(images.to(module.device), index)  # type: ignore[operator, no-any-return]

            found[place] = seen_in_views(data.image(index), views, find)
        joined = {place: each for part in gather_objects(found) for place, each in part.items()}
        return np.stack([joined[place] for place in range(len(unlabelled.ids))])
