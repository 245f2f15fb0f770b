"""OffsetVotingModule: the training of discs and offsets (AFPF)."""

from __future__ import annotations

import torch

from landmark_diffusion.finders.method import Batch
from landmark_diffusion.finders.offset_voting import OffsetVoting
from landmark_diffusion.heatmaps.losses import pixel_bce
from landmark_diffusion.heatmaps.votes import offset_loss, pixel_offsets
from landmark_diffusion.methods.base import LandmarkModule


class OffsetVotingModule(LandmarkModule, OffsetVoting):
    """A disc around each landmark and, in it, the way to its centre; the disc's pixels vote for the point.

    The options are those of OffsetVoting, the same without Lightning; here is how it is trained.
    """

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Cross-entropy of the discs' pixels, and the mean absolute error of the offsets within (section 2.2)."""
        logits, offsets = self.parts(self(batch["image"]))
        points = batch["target_points"].nanmean(1)
        size = (logits.shape[-2], logits.shape[-1])
        wanted = pixel_offsets(points, size)
        disc = wanted.square().sum(2) <= self.radius(size[1]) ** 2
        disc_loss = pixel_bce(logits, disc.to(logits.dtype))
        moved = offset_loss(offsets, wanted, disc, self.radius(size[1]))
        return {"loss": self.voting.disc_weight * disc_loss + moved, "disc": disc_loss, "offset": moved}
