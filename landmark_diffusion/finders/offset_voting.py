"""OffsetVoting: a disc around each landmark and, in it, the way to its centre; the disc's pixels vote.

Chen et al. 2019, "Cephalometric landmark detection by attentive feature pyramid fusion and regression-voting" (AFPF).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from inspect import currentframe
from typing import Any

import torch

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import as_group
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.finders.image_range import check_range, scale_image
from landmark_diffusion.finders.method import Batch
from landmark_diffusion.heatmaps.votes import cast_votes
from landmark_diffusion.models.network import NetworkFactory, build_network, described

AFPF = {"class_path": "landmark_diffusion.models.afpf.AFPF", "init_args": {}}
"""The network by default."""
REFERENCE_WIDTH = 640
"""The paper states the radius in pixels of a network 640 wide; it scales with the width."""


@dataclass(frozen=True)
class Voting:
    """Discs and votes.

    Args:
        radius: of a disc, px of a network 640 wide.
        disc_weight: of the discs' loss, beside the offsets'.
        voters: share of a disc's pixels that vote, those of the highest probability.
        spread: standard deviation by which votes are blurred, px of a network 640 wide.

    Raises UserError for values that make no sense.
    """

    radius: float = 41.0
    disc_weight: float = 2.0
    voters: float = 0.5
    spread: float = 2.0

    def __post_init__(self) -> None:
        for name in ("radius", "disc_weight", "voters", "spread"):
            if not (found := getattr(self, name)) > 0:
                raise UserError(f"model.voting.{name}: found {found}, expected a number above 0")


class OffsetVoting(Finder):
    """Three maps a landmark: whether a pixel lies in the disc around it, and its two offsets to the centre.

    Args:
        num_landmarks: N; linked from the data module.
        image_range: the grey levels 0 and 1 of a batch become these.
        network: gives 3 N maps; it takes no steps.
        voting: discs and votes.
        kwargs: decoding of the maps of votes, optimisation.
    """

    trained_by = "OffsetVotingModule"
    main_variant = "votes"

    def __init__(
        self,
        num_landmarks: int,
        image_range: tuple[float, float] = (-1.0, 1.0),
        network: NetworkFactory = AFPF,  # type: ignore[assignment]
        voting: Voting = Voting(),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_landmarks, **kwargs)
        network = described(network, AFPF)
        self.voting = as_group(Voting, voting, "model.voting")
        self.keep_options(currentframe(), network=network, voting=self.voting)
        self.network = build_network(network, 1, 3 * num_landmarks)
        self.image_range = check_range(image_range)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Run the network on image (B, 1, H, W) in [0, 1]: (B, 3 N, H, W), discs' logits, then x and y offsets."""
        maps: torch.Tensor = self.network(scale_image(image, self.image_range))
        return maps

    def parts(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tell the maps apart: logits (B, N, H, W) of the discs, and offsets (B, N, 2, H, W) in radii."""
        count = self.num_landmarks
        return maps[:, :count], torch.stack([maps[:, count : 2 * count], maps[:, 2 * count :]], 2)

    def radius(self, width: int) -> float:
        """A disc's radius in px of a network so wide."""
        return self.voting.radius * width / REFERENCE_WIDTH

    def variants(self, in_fit: bool = False) -> tuple[str, ...]:
        """Give the one name."""
        return (self.main_variant,)

    def predict_maps(self, batch: Batch, in_fit: bool = False) -> dict[str, torch.Tensor]:
        """Give the maps of votes."""
        return {self.main_variant: self.votes(*self.parts(self(batch["image"])))}

    def votes(self, logits: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Give the maps of votes (B, N, H, W) of what the network says."""
        width = logits.shape[-1]
        radius = self.radius(width)
        voters = max(1, round(self.voting.voters * math.pi * radius**2))
        return cast_votes(logits.sigmoid(), offsets, radius, voters, self.voting.spread * width / REFERENCE_WIDTH)
