"""Orientation: recognise that a radiograph is mirrored, turned or negative from the image alone, and learn to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.groups import at_least_one
from landmark_diffusion.core.seeds import form_seed
from landmark_diffusion.data.augmentation.other_devices import other_device
from landmark_diffusion.data.forms import FORMS, UPRIGHT, Form
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.models.form_network import FormNetwork

CERTAIN = 0.9
"""A form that is less probable than this is not undone: docs/experiments/orientation.md has what that costs."""
FORM_WEIGHTS = "form_network."
"""What the names of its weights begin with in a finder."""
BATCH, LEARNING_RATE, WEIGHT_DECAY = 8, 2e-3, 1e-2
KEPT_SIDE = 96
"""Pixels of a training image's side: it may be zoomed into."""
MOST_IMAGES = 2000
"""Images that are enough to learn from."""


@dataclass(frozen=True)
class Orientation:
    """Whether images in any orientation are recognised.

    Args:
        learn: learn it from the training images, which count as upright, before the landmarks; the model then puts
            mirrored, turned and negative images right by itself when it detects.
        steps: updates of the small network that does it.

    Raises UserError for less than one step.
    """

    learn: bool = False
    steps: int = 1500

    def __post_init__(self) -> None:
        at_least_one("model.orientation", self, "steps")


class RecognisedForm(NamedTuple):
    """The most probable form of an image, and its probability.

    ``by_landmarks`` says whether the landmarks are found better in the image put right than as it is; None where nobody
    looked.
    """

    form: Form
    probability: float
    by_landmarks: bool | None = None

    @property
    def certain(self) -> bool:
        """Whether the form is to be undone: by the landmarks where they were looked for, else by its probability."""
        return self.probability >= CERTAIN if self.by_landmarks is None else self.by_landmarks

    @property
    def used(self) -> Form:
        """The form to undo: upright where it is not certain, so that the image is left as it is."""
        return self.form if self.certain else UPRIGHT


def new_form_network(seed: int = 0) -> FormNetwork:
    """Build an untrained network; what else is drawn at random stays as it would have been without."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(form_seed(seed))
        return FormNetwork()


def recognise(network: FormNetwork, greys: Sequence[np.ndarray]) -> list[RecognisedForm]:
    """Say in which form each image (H, W) uint8 is."""
    device = next(network.parameters()).device
    looks = torch.stack([look(reduced(grey, network.side)) for grey in greys]).to(device)
    with torch.no_grad():
        shares = network(looks).double().softmax(1).cpu().numpy()
    return [RecognisedForm(FORMS[int(each.argmax())], float(each.max())) for each in shares]


def learn_forms(
    images: Iterable[np.ndarray], steps: int, seed: int = 0, advance: Callable[[int, float], object] | None = None
) -> FormNetwork:
    """Learn to tell the forms of images like these (H, W) uint8, which count as upright: 1500 steps take a minute.

    Every one is seen as other devices might give it. The network answers alike for all forms of an image, so that
    showing it upright alone teaches all sixteen. ``advance`` hears the steps done and the loss. Nothing outside is
    drawn from or changed; the same images, steps and seed give the same weights. Raises UserError without an image.
    """
    network, rng = new_form_network(seed), np.random.default_rng(form_seed(seed))
    small = [reduced(image, KEPT_SIDE) for image in images]
    if not small:
        raise UserError("orientation: found no image to learn from, expected upright radiographs")
    order = _in_turn(len(small), rng)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(steps, 2), pct_start=0.1)
    upright = torch.full((BATCH,), FORMS.index(UPRIGHT))
    with torch.enable_grad():
        for step in range(steps):
            seen = [other_device(small[next(order)], network.side, rng) for _ in range(BATCH)]
            loss = F.cross_entropy(network(torch.stack([look(each) for each in seen])), upright)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if advance is not None:
                advance(step + 1, loss.item())
    return network.eval().requires_grad_(False)


def enough_images(count: int) -> list[int]:
    """Choose places among ``count`` images to learn from: all, or ``MOST_IMAGES`` evenly."""
    places: list[int] = np.linspace(0, count - 1, min(count, MOST_IMAGES)).round().astype(int).tolist()
    return places


def reduced(grey: np.ndarray, side: int) -> np.ndarray:
    """Stretch an image (H, W) uint8 to a square, which turns and mirrors as the image does."""
    return resize_image(grey, Frame.fit(grey.shape[::-1], (side, side)))


def look(square: np.ndarray) -> torch.Tensor:
    """Turn an image (S, S) uint8 to what the network sees: each pixel's rank among all, (1, S, S) from -1 to 1.

    Ranks do not change with brightness, contrast and gamma, and those of the negative are the same with another sign.
    Pixels of one grey value share the middle of their ranks.
    """
    counts = np.bincount(square.ravel(), minlength=256)
    ranks = ((2 * counts.cumsum() - counts) / square.size - 1).astype(np.float32)
    return torch.from_numpy(ranks[square]).unsqueeze(0)


def _in_turn(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Give places without end, each once before any comes again."""
    while True:
        yield from rng.permutation(count).tolist()
