"""LandmarkDataModule: one Lightning data module for every dataset."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.fabric.utilities.seed import pl_worker_init_function
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group
from landmark_diffusion.core.say import say
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.augmentation import get_recipe
from landmark_diffusion.data.cache import ImageCache
from landmark_diffusion.data.checks.labels import refuse_mixed_spacing, tell_labels
from landmark_diffusion.data.geometry import ResizeMode
from landmark_diffusion.data.joined_dataset import JoinedTorchDataset
from landmark_diffusion.data.landmark_names import arranged, renamed
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import LandmarkDataset, Stage, images_beside
from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset, check_target_points
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.training.auxiliary import build_auxiliary, check_sets
from landmark_diffusion.training.lightning_internals import loading_checkpoint, move_to_other_processes, resume_position
from landmark_diffusion.training.mixing import MixedOrder, Mixing
from landmark_diffusion.training.pseudo_labels import PseudoLabels, Unlabelled
from landmark_diffusion.training.samplers import EpochKeyedSampler, EvalSampler

EAGER_LIMIT = 2000
"""Sets below this size are decoded in full before the first step, so that a broken file shows at once."""


class _Place(NamedTuple):
    """Where this start of a run began: an epoch, the batches of it that each process, and samples that all had done."""

    epoch: int = 0
    batches: int = 0
    drawn: int = 0


class LandmarkDataModule(LightningDataModule):
    """Radiographs and landmarks as batches (docs/conventions.md, "Batches"), for every dataset, split and recipe.

    Args:
        dataset: "isbi2015", "hand", "chest", "folder" or "phantom", or "pooled", several of them at once; or one of
            another package, by its name or class path (my_lab.data.MyData).
        root: the dataset's folder; None for the phantom.
        size: network input (width, height) in pixels.
        resize: "stretch" (each axis by its own factor) or "pad" (keep the aspect, pad right and bottom).
        recipe: training augmentation: none, mild, devices, paper_a, paper_a_imgaug, paper_b or
            albumentations.
        recipe_options: overrides of the recipe, such as ``{"elastic": false}``; for albumentations ``{"pipeline":
            "FILE.yaml"}`` (docs/reference.md, "Augmentation").
        target_points: what the training target marks: "mean" of the annotators, "annotators" (each one),
            "random_annotator" (one drawn each time), or an annotator's name.
        split: the dataset's split by name, such as "official" or "development"; None is the dataset's default.
        batch_size: training images a step and process.
        eval_batch_size: images a step in validation, test and predict.
        num_workers: processes that load images.
        cache_folder: where resized images are kept; None is $LDX_CACHE, else ~/.cache/landmark_diffusion.
        evaluate_on_train: validate and test on the training images, to see whether a network can learn them by heart.
        seed: of order and augmentation; None takes the run's ``seed_everything``.
        dataset_options: further options of the dataset, such as ``{"csv": ...}``.
        labels: False reads the images alone: no annotation file or table is needed, N is 0 (pre-training).
        train_images: ids of the training images to keep, in any order (a few-shot draw); None keeps all.
        samples_per_epoch: training images that make an epoch, repeated (augmented anew) or cut; None takes each once.
        full_batches: leave an epoch's last batch out where it has fewer images.
        landmark_names: names for landmarks that have none in the table (x1,y1,...), in its order; or {the table's
            name: another}, to rename some.
        pseudo_labels: train on the images without labels too, by what the network finds in them: those of the training
            part that ``train_images`` does not name, and those that the dataset has no labels of.
        mixing: how often each of several sets (pooled, auxiliary) comes, and whether a batch is of one alone.
        auxiliary: data sets that train beside, with landmarks of their own.
        check_labels: False goes on with labels that look as if they were no pixels of their image, without a word.

    Raises UserError (DataError with file and line) for options and data that cannot be used.
    """

    def __init__(
        self,
        dataset: str = "phantom",
        root: str | None = None,
        size: tuple[int, int] = (640, 800),
        resize: ResizeMode = "stretch",
        recipe: str = "none",
        recipe_options: dict[str, Any] | None = None,
        target_points: str = "mean",
        split: str | None = None,
        batch_size: int = 1,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        cache_folder: str | None = None,
        evaluate_on_train: bool = False,
        seed: int | None = None,
        dataset_options: dict[str, Any] | None = None,
        labels: bool = True,
        train_images: list[str] | None = None,
        samples_per_epoch: int | None = None,
        landmark_names: list[str] | dict[str, str] | None = None,
        check_labels: bool = True,
        mixing: Mixing = Mixing(balance="image", batches="mixed"),
        pseudo_labels: PseudoLabels = PseudoLabels(rounds=(), keep=0.8, views=4),
        auxiliary: list[dict[str, Any]] | None = None,
        full_batches: bool = False,
    ) -> None:
        super().__init__()
        options = dict(dataset_options or {})
        if split is not None:
            options["split"] = split
        if not labels:
            options["labels"] = False
        self.source = renamed(build_dataset(dataset, root, **options), landmark_names)
        self.size: tuple[int, int] = (int(size[0]), int(size[1]))
        if min(self.size) < 1:
            raise UserError(f"data.size: found {list(self.size)}, expected (width, height) of at least 1 pixel")
        self.resize: ResizeMode = resize
        self.recipe = get_recipe(recipe, **(recipe_options or {}))
        self.target_points = check_target_points(target_points, self.source.annotator_names)
        counts = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "samples_per_epoch": samples_per_epoch}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise UserError(f"data.{name}: found {value}, expected at least 1")
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.cache = ImageCache(Path(cache_folder) if cache_folder else None)
        self.evaluate_on_train = evaluate_on_train
        self.train_images, self.samples_per_epoch = train_images, samples_per_epoch
        self.full_batches = full_batches
        self.check_labels = check_labels
        self.mixing = as_group(Mixing, mixing, "data.mixing")
        self.pseudo_labels = as_group(PseudoLabels, pseudo_labels, "data.pseudo_labels")
        self._described_auxiliary = auxiliary or []
        if auxiliary:
            self._check_auxiliary(labels)
        self.unlabelled: Unlabelled | None = None
        """Images without labels that train; None where none do, and before the training set is built."""
        self._without_labels = partial(build_dataset, dataset, root, **{**options, "labels": False})
        self._seed = seed
        self._datasets: dict[str, LandmarkTorchDataset] = {}
        self._joined: JoinedTorchDataset | None = None
        self._begun = _Place()
        self._told = False

    def _check_auxiliary(self, labels: bool) -> None:
        """Raise UserError for options that do not go with sets of other landmarks."""
        if self.mixing.batches != "one_set":
            raise UserError(
                "data.auxiliary: the sets have landmarks of their own, so a batch is of one set: give "
                f"data.mixing.batches one_set (found {self.mixing.batches})"
            )
        if not labels or self.pseudo_labels.rounds:
            what = "data.pseudo_labels" if labels else "data.labels false (dataset: pooled joins images without labels)"
            raise UserError(f"data.auxiliary does not go with {what}: leave one of the two out")

    @cached_property
    def auxiliary(self) -> dict[str, LandmarkDataset]:
        """The auxiliary sets by name, built when a training first asks for them: a test needs none."""
        return build_auxiliary(self._described_auxiliary, self.target_points)

    @property
    def auxiliary_landmarks(self) -> dict[str, int]:
        """Number of landmarks of each auxiliary set."""
        return {name: len(each.landmark_names) for name, each in self.auxiliary.items()}

    @property
    def num_landmarks(self) -> int:
        """N, known before any image is read."""
        return len(self.source.landmark_names)

    @property
    def landmark_names(self) -> tuple[str, ...]:
        """The N landmarks' names, in the order of every (N, 2) array."""
        return self.source.landmark_names

    def arrange(self, wanted: Sequence[str], whose: str) -> str:
        """Put the landmarks in a model's order, by name, and return what to tell of it; empty where all was so already.

        Raises UserError where they are not the model's.
        """
        source, note = arranged(self.source, wanted, whose)
        if source is not self.source:
            self.source = source
            self._datasets.clear()
            self._joined = None
        return note

    @property
    def seed(self) -> int:
        """Seed of order and augmentation."""
        return self._seed if self._seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))

    def stage_dataset(self, stage: Stage) -> LandmarkTorchDataset:
        """The examples of one stage (built once); an absent stage is empty."""
        if stage not in self._datasets:
            train = stage == "train"
            source_stage: Stage = "train" if self.evaluate_on_train else stage
            samples = self.source.samples(source_stage)
            if source_stage == "train":
                samples = keep_images(samples, self.train_images)
            if train and self.pseudo_labels.rounds:
                samples = [*samples, *self._add_unlabelled(samples)]
            self._datasets[stage] = LandmarkTorchDataset(
                self.source,
                samples,
                self.size,
                self.resize,
                self.cache,
                recipe=self.recipe if train else None,
                target_points=self.target_points if train else "mean",
                seed=self.seed,
                found=self.unlabelled.points if train and self.unlabelled is not None else None,
            )
        return self._datasets[stage]

    def training_set(self) -> LandmarkTorchDataset | JoinedTorchDataset:
        """The examples that train: those of the training part, and behind them those of the auxiliary sets."""
        own = self.stage_dataset("train")
        if not self.auxiliary:
            return own
        if self._joined is None:
            others = [
                LandmarkTorchDataset(
                    each, each.samples("train"), self.size, self.resize, self.cache, recipe=self.recipe,
                    target_points=self.target_points, seed=self.seed,
                )
                for each in self.auxiliary.values()
            ]  # fmt: skip
            self._joined = JoinedTorchDataset([own, *others])
        return self._joined

    def _add_unlabelled(self, labelled: list[LandmarkSample]) -> list[LandmarkSample]:
        """Find the images that train without labels, in the order of the dataset; what is tested is none of them.

        Raises UserError where there are none.
        """
        found = images_beside(self.source, self._without_labels(), labelled)
        if not found:
            raise UserError(
                f"data.pseudo_labels: found no image without labels in {self.source.name}: the training part has none "
                "beside those that data.train_images names, or that have a row; leave data.pseudo_labels.rounds out"
            )
        shape = (max(len(self.source.annotator_names), 1), self.num_landmarks, 2)
        unknown = np.full(shape, np.nan)
        self.unlabelled = Unlabelled.behind(
            self.pseudo_labels, len(labelled), [sample.image_id for sample in found], self.num_landmarks
        )
        return [replace(sample, annotations=unknown, spacing=None) for sample in found]

    def setup(self, stage: str) -> None:
        """Read annotations and headers of what ``stage`` needs, and decode small sets in full.

        Raises UserError before anything is decoded where the disk has no room for the resized images.
        Before training the annotations and headers of the test part are read too: a fault in them must not wait for
        the end of it. What the labels' values say is told once, and errors among them are refused, as are images of
        which only some have a spacing.
        """
        wanted: dict[str, tuple[Stage, ...]] = {
            "fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)
        }  # fmt: skip
        for name in wanted[stage]:
            dataset = self.stage_dataset(name)
            if not len(dataset) and (name != "val" or stage == "validate"):
                raise UserError(
                    f"data: the {name} part of {self.source.name} is empty in this split; choose another data.split "
                    "or check data.root"
                )
        if not self._told:
            self._told = True
            for note in self.source.notes():
                say(note)
            if stage == "fit" and self.unlabelled is not None:
                count = counted(len(self.unlabelled.ids), "image")
                say(f"data: {count} without labels, left out at first, train from the first round of pseudo-labels on")
        datasets = [self.stage_dataset(name) for name in wanted[stage]]
        others: Sequence[LandmarkTorchDataset] = ()
        if stage == "fit" and self.auxiliary:
            training = self.training_set()
            assert isinstance(training, JoinedTorchDataset)
            others = training.parts[1:]
            check_sets(dict(zip(self.auxiliary, others, strict=True)), self.check_labels)
        if len(self.landmark_names):
            more = self.source.samples("test") if stage == "fit" else []
            every = [*chain.from_iterable(dataset.samples for dataset in datasets), *more]
            without = set() if self.unlabelled is None else set(self.unlabelled.ids)
            labelled = [sample for sample in every if sample.image_id not in without]
            refuse_mixed_spacing(labelled)
            if self.check_labels:
                tell_labels(labelled, self.source)
        frames = [frame for dataset in datasets for frame in dataset.frames]
        self.cache.check_room(self.source, chain.from_iterable(dataset.samples for dataset in datasets), frames)
        for other in others:
            self.cache.check_room(other.source, other.samples, other.frames)
        for dataset in (*datasets, *others):
            if len(dataset) < EAGER_LIMIT:
                self.cache.fill(dataset.source, dataset.samples, dataset.frames)
        if stage == "fit":
            self._begun = _Place()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches in an order keyed by (seed, epoch), from where a resumed run stopped."""
        dataset = self.training_set()
        epoch, done = resume_position(self.trainer) if self.trainer is not None else (0, 0)
        drawn = self._drawn(epoch, done)
        self._begun = _Place(epoch, done, drawn)
        sampler = EpochKeyedSampler(
            len(dataset), self.seed, self.batch_size, epoch=epoch, rank=self._rank, world_size=self._world,
            length=self._samples(self._world), drawn=drawn, mixed=self._mixed(self._world), first=self._first,
        )  # fmt: skip
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.num_workers > 0,
            drop_last=False,
        )

    def batches_per_epoch(self, processes: int) -> int:
        """Return the training batches of one of ``processes`` in a whole epoch."""
        return math.ceil(math.ceil(self._length(processes) / processes) / self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch] | list[Batch]:
        """Validation images in order, each counted once; an empty list where the split has none."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Batch] | list[Batch]:
        """Test images in order."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch] | list[Batch]:
        """Images to predict, in order."""
        return self._eval_loader("predict")

    def state_dict(self) -> dict[str, Any]:
        """Keep how many samples of the epoch all processes have drawn together: their number may change (fit only)."""
        if self.trainer is None or self.trainer.state.fn != "fit":
            return {}
        epoch, done = resume_position(self.trainer)
        pseudo = {} if self.unlabelled is None else {"pseudo_labels": self.unlabelled.state()}
        return {
            "processes": self._world, "batch_size": self.batch_size, "epoch": epoch, "drawn": self._drawn(epoch, done),
            **pseudo,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Find the place in the epoch again; with another number of processes say that the run is no longer the same.

        Lightning calls it before it restores its own count of batches.
        """
        if self.trainer is None or self.trainer.state.fn != "fit":
            return
        checkpoint = loading_checkpoint(self.trainer)
        before = state_dict["processes"]
        if self.pseudo_labels.rounds:
            self.stage_dataset("train")
            assert self.unlabelled is not None
            self.unlabelled.load(state_dict.get("pseudo_labels"))
        length = self._epoch_length
        drawn = min(state_dict["drawn"], length)  # fewer processes may have had more full batches
        move_to_other_processes(checkpoint, length, drawn, self.batch_size, self._world)
        self._begun = _Place(*resume_position(self.trainer), drawn)
        if before != self._world:
            say(
                f"the checkpoint was written by {counted(before, 'process')}, this run has {self._world}: the "
                f"{length - drawn} images left of epoch {state_dict['epoch']} are dealt anew, each once. "
                f"From here on the run is not bit for bit the unbroken one, and a step takes {self._world} x "
                f"{self.batch_size} images in place of {before} x {state_dict['batch_size']}"
            )

    def _samples(self, processes: int) -> int | None:
        """Samples of an epoch; None for each image once. Batches of one set are full by themselves.

        With ``full_batches`` each epoch leaves out other images; a run that goes on within an epoch with another number
        of processes may still end that epoch with a smaller batch.
        """
        if not self.full_batches or self.mixing.batches == "one_set":
            return self.samples_per_epoch
        whole, step = self.samples_per_epoch or len(self.training_set()), self.batch_size * processes
        return whole // step * step or whole

    def _length(self, processes: int) -> int:
        mixed = self._mixed(processes)
        return mixed.length if mixed is not None else self._samples(processes) or len(self.training_set())

    @property
    def _epoch_length(self) -> int:
        return self._length(self._world)

    @property
    def _first(self) -> Callable[[], int] | None:
        """Says how many images, from the first on, train in an epoch: until they have labels not those without."""
        dataset, unlabelled = self.stage_dataset("train"), self.unlabelled
        if unlabelled is None:
            return None
        return lambda: len(dataset) if unlabelled.rounds else unlabelled.labelled

    def _mixed(self, processes: int) -> MixedOrder | None:
        """The order of several sets, or of images with and without labels; None where the plain one serves."""
        if self.mixing == Mixing():
            return None
        dataset = self.training_set()
        sets = dataset.sets
        if self.unlabelled is not None:
            sets = (np.arange(len(dataset)) >= self.unlabelled.labelled).astype(np.int16)
        return MixedOrder(sets, self.mixing, self.batch_size, self._samples(processes))

    def _drawn(self, epoch: int, done: int) -> int:
        """Samples of an epoch behind all processes after ``done`` batches of each, counted on from where it began."""
        begun = self._begun if self._begun.epoch == epoch else _Place(epoch)
        return min(begun.drawn + (done - begun.batches) * self.batch_size * self._world, self._epoch_length)

    def _eval_loader(self, stage: Stage) -> DataLoader[Batch] | list[Batch]:
        dataset = self.stage_dataset(stage)
        if not len(dataset):
            return []
        sampler = EvalSampler(len(dataset), rank=self._rank, world_size=self._world)
        return DataLoader(
            dataset, batch_size=self.eval_batch_size, sampler=sampler, num_workers=self.num_workers,
            worker_init_fn=_start_worker,
        )  # fmt: skip

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1


def _start_worker(worker: int) -> None:
    """Keep Python's search for garbage from writing to, and so copying, all that a worker has from its parent."""
    gc.freeze()
    if int(os.environ.get("PL_SEED_WORKERS", "0")):  # Lightning seeds the workers itself where they have no function
        pl_worker_init_function(worker)


def keep_images(samples: list[LandmarkSample], wanted: list[str] | None) -> list[LandmarkSample]:
    """Keep the samples of the wanted images, in the samples' order; None keeps all.

    Raises UserError for an id that is not there or is named twice.
    """
    if wanted is None:
        return samples
    known = dict.fromkeys(sample.image_id for sample in samples)
    for image_id in wanted:
        if image_id not in known:
            raise UserError(
                f"data.train_images: {image_id!r} is not among the {len(known)} training images of this split "
                f"({', '.join(list(known)[:3])}{', ...' if len(known) > 3 else ''})"
            )
    chosen = set(wanted)
    if not wanted or len(chosen) < len(wanted):
        raise UserError(f"data.train_images: found {wanted}, expected at least one image, each once")
    return [sample for sample in samples if sample.image_id in chosen]
