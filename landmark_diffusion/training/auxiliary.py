"""Auxiliary data sets: they train beside the one that is tested, with landmarks of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.checks.labels import tell_labels
from landmark_diffusion.data.source import LandmarkDataset
from landmark_diffusion.data.sources.described import build_sets
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset, check_target_points
from landmark_diffusion.training.lightning_internals import waits_for_all_gradients

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule

WHERE = "data.auxiliary"


def build_auxiliary(described: Sequence[Mapping[str, Any]], target_points: str) -> dict[str, LandmarkDataset]:
    """Build the auxiliary sets that a config describes, by name; none where it describes none.

    Raises UserError for one that cannot be understood, or has no annotator of the name that ``target_points`` gives.
    """
    sets = build_sets(described, None, WHERE, labels=True) if described else {}
    for place, (name, each) in enumerate(sets.items()):
        try:
            check_target_points(target_points, each.annotator_names)
        except UserError as error:
            raise UserError(f"{WHERE}[{place}] ({name}): {error}") from None
    return sets


def check_sets(sets: Mapping[str, LandmarkTorchDataset], check_labels: bool) -> None:
    """Raise UserError for a set without training images and for faults in its labels; tell doubts of these."""
    for name, each in sets.items():
        if not len(each):
            raise UserError(f"{WHERE}: the train part of {name} is empty in its split; choose another `split`")
        if check_labels:
            tell_labels(list(each.samples), each.source)


def check_network(module: LightningModule, taken: Sequence[int], given: Mapping[str, int]) -> None:
    """Raise UserError unless a network has maps for the landmarks of each auxiliary set, and processes can share it.

    Args:
        module: which trains.
        taken: landmarks of each auxiliary set that its network has maps for.
        given: those of each set of the data.
    """
    if tuple(taken) != tuple(given.values()):
        listed = ", ".join(f"{name} {count}" for name, count in given.items()) or "none"
        how = "a network without weights of each data set" if not taken else f"maps for {list(taken)}"
        raise UserError(
            f"{WHERE}: found sets with landmarks {listed}, and {how}. HeatmapFinetuneModule with "
            f"model.network.class_path GU2Net and init_args.auxiliary {list(given.values())} fits these data"
        )
    if given and module.trainer.world_size > 1 and waits_for_all_gradients(module.trainer):
        raise UserError(
            f"{WHERE}: a batch is of one set and leaves the others' weights without a gradient, for which "
            "trainer.strategy ddp waits: give --trainer.strategy ddp_find_unused_parameters_true"
        )
