"""LandmarkModule: what every landmark detector shares - maps to points, evaluation and its records."""

from __future__ import annotations

from types import FrameType
from typing import Any

import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn

from landmark_diffusion.core.annotations import mean_of_annotators
from landmark_diffusion.core.say import say
from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.geometry import covariance_factors, frames_to_original
from landmark_diffusion.data.torch_dataset import LandmarkTorchDataset
from landmark_diffusion.finders.finder import Finder, LandmarkEstimate
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.finders.orientation import FORM_WEIGHTS, enough_images, learn_forms
from landmark_diffusion.methods.start import Start, load_start
from landmark_diffusion.methods.training import TrainedModule
from landmark_diffusion.metrics import MeanRadialError, SuccessDetectionRate
from landmark_diffusion.metrics.records import LengthUnit, Prediction
from landmark_diffusion.training.processes import gather_objects


class LandmarkModule(TrainedModule, Finder):
    """Base of the methods that find landmarks in training: evaluation and its records; the options are Finder's."""

    monitor = "val/mre"
    _knows_forms = False
    start: Start | None = None
    """What was taken from ``pretrained``; None before training and without it."""
    _has_weights = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.results: dict[str, list[Prediction]] = {}
        """Records of the last evaluation, a list for each variant in dataset order (complete on every process)."""
        self._records: dict[str, list[Prediction]] = {}
        self._metrics: dict[str, tuple[MeanRadialError, SuccessDetectionRate]] = {}

    def keep_options(self, frame: FrameType | None, **complete: Any) -> None:
        """Save the options, those of decoding and orientation too."""
        super().keep_options(frame, decoding=self.decoding, orientation=self.orientation, **complete)
        if not self.orientation.learn:  # the files are then as those of versions without it, which can read them
            self.hparams.pop("orientation")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the loaded weights know: a start is not needed any more, nor orientations that they can tell."""
        super().on_load_checkpoint(checkpoint)
        self._has_weights = True
        self._knows_forms = any(name.startswith(FORM_WEIGHTS) for name in checkpoint["state_dict"])

    def on_fit_start(self) -> None:
        """Take the start's weights, and learn to tell orientations where that is asked for and not done."""
        super().on_fit_start()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not self._has_weights:
            self.take_start(data)
        if self.form_network is not None and not self._knows_forms:
            self._learn_forms(data.stage_dataset("train"))

    def _learn_forms(self, dataset: LandmarkTorchDataset) -> None:
        """Learn to tell the forms of a data set's images, seen without the run's augmentation."""
        assert self.form_network is not None
        steps, places = self.orientation.steps, enough_images(len(dataset))
        say(f"learning to tell mirrored, turned and negative images: {steps} steps, {counted(len(places), 'image')}")
        learned = learn_forms((dataset.content(place) for place in places), steps, self.seed)
        self.form_network.load_state_dict(learned.state_dict())
        self._knows_forms = True

    def take_start(self, data: Any) -> None:
        """Put the weights of ``pretrained`` into the module, once, and tell what became of the landmarks of ``data``.

        Raises UserError for a start that does not fit.
        """
        if self.pretrained is None or self.start is not None:
            return
        options, names = dict(self.hparams), data.landmark_names
        self.begin_with(load_start(self, self.pretrained, names, options, self.weights, self.landmark_map))
        assert self.start is not None
        say(self.start.describe())

    def begin_with(self, start: Start) -> None:
        """Note the start whose weights are in the module.

        What it knows of orientations and shapes is not learned anew, unless it is of another anatomy.
        """
        self.start, self._knows_forms = start, start.knows_forms and start.same_anatomy

    def learn_points(self, points: np.ndarray) -> None:
        """Learn what a method knows of the training points (I, N, 2), in network pixels, beside its weights."""

    def find_points(self, images: torch.Tensor, index: int) -> np.ndarray:
        """Points (B, N, 2) in network pixels, of views (B, 1, H, W) of the training image ``index``.

        NaN for a landmark that is said to lie outside the view.
        """
        batch = {"image": images, "index": torch.full((len(images),), index, device=images.device)}
        estimate = self.find(batch, in_fit=True)[self.prediction_variant(in_fit=True)]
        points = estimate.points.double().cpu().numpy()
        if estimate.outside is None:
            return points
        return np.where((estimate.outside > 0.5).cpu().numpy()[..., None], np.nan, points)

    def on_validation_epoch_start(self) -> None:
        """Start empty metrics."""
        super().on_validation_epoch_start()
        self._begin_evaluation()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch; within fit only those that fit asks for."""
        super().validation_step(batch, batch_idx)
        self._evaluate(batch, self.find(batch, in_fit=self._in_fit))

    def on_validation_epoch_end(self) -> None:
        """Log MRE and SDR, gather the records."""
        super().on_validation_epoch_end()
        self._end_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Start empty metrics."""
        self._begin_evaluation()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Evaluate a batch with every variant."""
        self._evaluate(batch, self.find(batch))

    def on_test_epoch_end(self) -> None:
        """Log MRE and SDR, gather the records."""
        self._end_evaluation("test")

    def on_predict_epoch_start(self) -> None:
        """Start empty records."""
        self._begin_evaluation()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Points in original pixels, (B, N, 2) float64, for each variant."""
        return self._evaluate(batch, self.find(batch))

    def on_predict_epoch_end(self) -> None:
        """Gather the records."""
        self.results = gather_records(self._records)

    def _begin_evaluation(self) -> None:
        """Start metrics for every variant now: a process whose share is empty must take part when they are joined."""
        self._records, self._metrics = {}, {}
        if self.trainer.predicting:
            return
        radii = tuple(self.trainer.datamodule.source.radii)  # type: ignore[attr-defined]
        for name in self.variants(in_fit=self._in_fit):
            self._metrics[name] = (MeanRadialError().to(self.device), SuccessDetectionRate(radii).to(self.device))

    @property
    def _length_unit(self) -> LengthUnit:
        unit = self.trainer.datamodule.source.unit  # type: ignore[attr-defined]
        return "px256" if unit == "px256" else "mm"

    @property
    def _in_fit(self) -> bool:
        return self.trainer.state.fn == TrainerFn.FITTING

    def _evaluate(self, batch: Batch, found: dict[str, LandmarkEstimate]) -> dict[str, torch.Tensor]:
        points = {name: frames_to_original(value.points, batch["frame"]) for name, value in found.items()}
        for name, value in points.items():
            self._update_metrics(name, value, batch)
            own = found[name]
            covariance = covariances_to_original(own.covariance(), batch["frame"])
            records = make_records(value, batch, self._length_unit, covariance, own.outside, own.missed)
            self._records.setdefault(name, []).extend(records)
        return points

    def _update_metrics(self, variant: str, points: torch.Tensor, batch: Batch) -> None:
        truth = mean_annotation(batch["annotations"])
        for metric in self._metrics.get(variant, ()):
            metric.update(points, truth, batch["spacing"], ~torch.isnan(truth).any(-1), batch["index"])

    def _end_evaluation(self, stage: str) -> None:
        for variant, (mre, sdr) in sorted(self._metrics.items()):
            name = variant.replace("-", "_")
            value = mre.compute()
            self.log(f"{stage}/mre_{name}", value.float(), rank_zero_only=False)
            if variant == self.main_variant or len(self._metrics) == 1:
                self.log(f"{stage}/mre", value.float(), prog_bar=stage == "val")
            for radius, percent in sdr.compute().items():
                self.log(f"{stage}/sdr_{radius:g}_{name}", float(percent))
        self.results = gather_records(self._records)


def mean_annotation(annotations: torch.Tensor) -> torch.Tensor:
    """Mean over the annotators who marked a point: (B, A, N, 2) to (B, N, 2); NaN where nobody did."""
    mean = mean_of_annotators(annotations.detach().cpu().numpy())
    return torch.from_numpy(mean).to(annotations)


def covariances_to_original(covariance: torch.Tensor | None, frames: torch.Tensor) -> torch.Tensor | None:
    """Map covariances (B, N, 2, 2) in network pixels to original pixels in float64, by frames (B, 2, 2)."""
    if covariance is None:
        return None
    return covariance.to(torch.float64) / covariance_factors(frames[:, 0].to(torch.float64))


def make_records(
    points: torch.Tensor, batch: Batch, length_unit: LengthUnit = "mm", covariance: torch.Tensor | None = None,
    outside: torch.Tensor | None = None, missed: torch.Tensor | None = None,
) -> list[Prediction]:  # fmt: skip
    """Turn a batch of points (B, N, 2) in original pixels into records on the CPU; ``length_unit`` is the spacing's.

    ``covariance`` (B, N, 2, 2) is in squared original pixels; ``outside`` and ``missed`` (B, N) are probabilities.
    """
    annotations, spacing = batch["annotations"].cpu().numpy(), batch["spacing"].cpu()
    sizes = batch["image_size"].cpu().tolist()
    return [
        Prediction(
            image_id=str(batch["image_id"][i]),
            index=int(batch["index"][i]),
            points=points[i].cpu().numpy(),
            annotations=annotations[i],
            spacing=None if torch.isnan(spacing[i]).any() else (float(spacing[i, 0]), float(spacing[i, 1])),
            covariance=None if covariance is None else covariance[i].cpu().numpy(),
            length_unit=length_unit,
            image_size=(sizes[i][0], sizes[i][1]),
            outside=None if outside is None else outside[i].double().cpu().numpy(),
            missed=None if missed is None else missed[i].double().cpu().numpy(),
        )
        for i in range(len(points))
    ]


def gather_records(records: dict[str, list[Prediction]]) -> dict[str, list[Prediction]]:
    """Join the records of all processes, each image once, in dataset order."""
    parts = gather_objects(records)
    names = sorted({name for part in parts for name in part})
    joined = {name: {r.index: r for part in parts for r in part.get(name, [])} for name in names}
    return {name: [by_index[i] for i in sorted(by_index)] for name, by_index in joined.items()}
