"""Finder: what every landmark detector shares - from maps to points, and how far these may be off."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.core.groups import as_group, at_least_one
from landmark_diffusion.finders.method import Batch, Method
from landmark_diffusion.finders.orientation import Orientation, new_form_network
from landmark_diffusion.heatmaps.decoders import DECODERS, DecoderKind, decode
from landmark_diffusion.heatmaps.moments import map_covariance

SpreadKind = Literal["heatmap", "samples", "both"]
Weights = Literal["ema", "raw"]
SPREADS: tuple[str, ...] = get_args(SpreadKind)


class LandmarkEstimate(NamedTuple):
    """What a method found, in network pixels, and how far it may be off by its own belief.

    ``points`` (B, N, 2); ``within`` (B, N, 2, 2) is the second moment about the point of what one map or window
    believes, ``between`` (B, N, 2, 2) the covariance of the points of several samples, None where one was drawn.
    ``outside`` (B, N) is the probability that the landmark lies outside the image, ``missed`` (B, N) that the image
    tells nothing of it where it was looked for; None where the method cannot tell.
    """

    points: torch.Tensor
    within: torch.Tensor | None = None
    between: torch.Tensor | None = None
    outside: torch.Tensor | None = None
    missed: torch.Tensor | None = None

    def covariance(self, spread: SpreadKind = "both") -> torch.Tensor | None:
        """Covariance (B, N, 2, 2) from the map ("heatmap"), from the samples, or the sum of what there is ("both")."""
        if spread == "heatmap" or (spread == "both" and self.between is None):
            return self.within
        if spread == "samples" or self.within is None:
            return self.between
        return self.within + self.between if self.between is not None else self.within


@dataclass(frozen=True)
class Decoding:
    """How maps become points.

    Args:
        decoder: the rule.
        radius: of "local_centroid", in network pixels.
        top_k: pixels of "top_k".

    Raises UserError for a rule that is not known.
    """

    decoder: DecoderKind = "local_centroid"
    radius: int = 2
    top_k: int = 10

    def __post_init__(self) -> None:
        check_choice("model.decoding.decoder", self.decoder, DECODERS)
        at_least_one("model.decoding", self, "radius", "top_k")


class Finder(Method):
    """Base of the methods that find landmarks: they add a network, a loss and maps to decode.

    Args:
        num_landmarks: N; linked from the data module.
        decoding: how maps become points.
        orientation: whether images in any orientation are recognised.
        pretrained: model file or checkpoint whose networks are the start; None: from scratch.
        weights: which of its weights: "ema" (the moving average) or "raw".
        landmark_map: {a landmark of the data: the start's name for it}, for those that are called otherwise there.
        kwargs: optimisation.
    """

    trained_by: ClassVar[str]
    """Name of the LightningModule that trains such a network, where the class is none itself."""
    main_variant: str
    """The variant whose error chooses the checkpoint and whose points are the prediction."""
    fast_steps: int | None = None
    """Network evaluations that are enough where time counts (``ldx detect --fast``); None leaves the number."""

    def __init__(
        self,
        num_landmarks: int,
        decoding: Decoding = Decoding(),
        orientation: Orientation = Orientation(),  # noqa: B008 (frozen)
        pretrained: str | None = None,
        weights: Weights = "ema",
        landmark_map: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_landmarks < 1:
            raise UserError(
                f"model.num_landmarks: found {num_landmarks}, expected at least 1; landmarks are learned from labelled "
                "images (data.labels: true)"
            )
        self.num_landmarks = num_landmarks
        self.decoding = as_group(Decoding, decoding, "model.decoding")
        self.orientation = as_group(Orientation, orientation, "model.orientation")
        self.form_network = new_form_network().requires_grad_(False) if self.orientation.learn else None
        self.pretrained, self.weights, self.landmark_map = pretrained, weights, dict(landmark_map or {})

    @classmethod
    def class_name(cls) -> str:
        """Give the name that configs and model files have for it."""
        return str(vars(cls).get("trained_by", cls.__name__))

    @abstractmethod
    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        """Names of the maps that ``predict_maps`` gives."""

    @abstractmethod
    def predict_maps(self, batch: Batch, in_fit: bool = False) -> dict[str, torch.Tensor]:
        """Give non-negative maps (B, N, H, W) for each variant; ``in_fit`` asks for what fit needs of it."""

    def landmark_axes(self) -> dict[str, tuple[int, int]]:
        """Say which weights have a place for each landmark: name -> (axis, place of the first landmark along it).

        A start with other landmarks is taken apart by it (``pretrained``); empty where a method cannot say.
        """
        return {}

    def take_shape(
        self, mean: torch.Tensor | None, covariance: torch.Tensor | None, places: Sequence[int | None]
    ) -> None:
        """Take over how a start's landmarks lie to each other; ``places`` are those of ours there. Most cannot."""

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Decode maps (B, N, H, W) to network pixels (B, N, 2) with the module's decoder."""
        return decode(maps, self.decoding.decoder, self.decoding.radius, self.decoding.top_k)

    def find(self, batch: Batch, in_fit: bool = False) -> dict[str, LandmarkEstimate]:
        """Find the points of each variant: by default the decoded maps."""
        return {name: self.read(maps) for name, maps in self.predict_maps(batch, in_fit).items()}

    def choose_sampling(self, steps: int | None = None, samples: int | None = None) -> None:
        """Choose how many network evaluations and samples an image takes; raises UserError for a method without."""
        for name, value in (("steps", steps), ("samples", samples)):
            if value not in (None, 1):
                raise UserError(
                    f"{name}: found {value}, but a {self.class_name()} looks at an image once; leave it out"
                )

    def evaluations(self) -> tuple[int, int]:
        """How many network evaluations an image takes, and how many samples."""
        return 1, 1

    def prediction_variant(self, in_fit: bool = False) -> str:
        """Name the variant whose points are the prediction."""
        names = self.variants(in_fit)
        return self.main_variant if self.main_variant in names else names[-1]

    def prediction_settings(self, spread: SpreadKind = "both") -> dict[str, Any]:
        """Give what decides points and spread beside the weights; a calibration holds for just one of these."""
        steps, samples = self.evaluations()
        return {
            "variant": self.prediction_variant(),
            "steps": steps,
            "samples": samples,
            "decoder": self.decoding.decoder,
            "spread": "heatmap" if samples == 1 else spread,  # one sample has no spread but its maps'
        }

    def read(self, maps: torch.Tensor) -> LandmarkEstimate:
        """Decode maps (B, N, H, W), and measure how far their mass lies from the points."""
        points = self.decode(maps)
        return LandmarkEstimate(points, map_covariance(maps, points))
