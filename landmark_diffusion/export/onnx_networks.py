"""The networks of a module as other runtimes meet them: names, meanings, and inputs to try them with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.sources.phantom import MIN_SIDE, PhantomDataset
from landmark_diffusion.finders.diffusion_heatmap import DiffusionHeatmap
from landmark_diffusion.finders.finder import Finder
from landmark_diffusion.finders.heatmap_finetune import HeatmapFinetune
from landmark_diffusion.finders.offset_voting import OffsetVoting
from landmark_diffusion.finders.position_diffusion import PositionDiffusion
from landmark_diffusion.modelfile.facts import ModelFacts


@dataclass(frozen=True)
class Network:
    """One network of a module, and how its file names things.

    Attributes:
        part: its attribute in the module.
        suffix: of the file's name.
        module: what is called, with the inputs in order.
        inputs: meaning of each input by name, with its shape.
        output: name and meaning of the output.
        axis: name of the first axis of all of them, the one that is free.
        draw: inputs to check with, for a number of images.
    """

    part: str
    suffix: str
    module: nn.Module
    inputs: dict[str, str]
    output: tuple[str, str]
    axis: str
    draw: Callable[[int], tuple[torch.Tensor, ...]]


def list_networks(module: Finder, facts: ModelFacts) -> list[Network]:
    """List the networks of a module, the one that sees the whole image first; raises UserError without a size."""
    width, height = network_size(facts)
    image = {"image": f"(batch, 1, {height}, {width}) float32 grey in [0, 1]: batch, channel, height, width"}

    def images(count: int) -> tuple[torch.Tensor, ...]:
        return (_images(count, width, height),)

    if isinstance(module, PositionDiffusion):
        return _position_networks(module, image, images)
    _check_forward(module)
    output = ("output", _meaning(module))
    if isinstance(module, DiffusionHeatmap) and module.diffusion:
        count, steps = module.num_landmarks, module.noise_schedule.steps
        inputs = image | {
            "x_t": f"(batch, {count}, {height}, {width}) float32: the noised maps, x_0 scaled to [-1, 1]",
            "t": f"(batch,) int64: the step of the noise schedule, 0 to {steps - 1}",
        }

        def noised(batch: int) -> tuple[torch.Tensor, ...]:
            x_t = torch.randn(batch, count, height, width, generator=_generator())
            return (*images(batch), x_t, torch.randint(0, steps, (batch,), generator=_generator()))

        return [Network("network", "", module, inputs, output, "batch", noised)]
    return [Network("network", "", module, image, output, "batch", images)]


def network_size(facts: ModelFacts) -> tuple[int, int]:
    """Read (width, height) in network pixels; raises UserError where that is none: a file may come from anybody."""
    found = facts.data.get("size")
    if not isinstance(found, (list, tuple)) or len(found) != 2 or not all(type(n) is int and n > 0 for n in found):
        raise UserError(f"ONNX: found data.size {found!r:.60} in the model, expected (width, height) in pixels")
    return found[0], found[1]


def _position_networks(
    module: PositionDiffusion, image: dict[str, str], images: Callable[[int], tuple[torch.Tensor, ...]]
) -> list[Network]:
    """The network of the first guess, and that of the windows, checked with windows of the chain's first evaluation."""
    count, factor, patch = module.num_landmarks, module.coarse_factor, module.windows.patch
    size, side, views = module.windows.size, module.windows.size // patch, module.windows.views
    low, high = module.image_range
    scaled = (
        "" if (low, high) == (0, 1) else f". Grey 0 becomes {low:g} and 1 becomes {high:g}, beyond the image {low:g}"
    )
    first = (
        f"(batch, {count}, ceil(height / {factor}), ceil(width / {factor})) float32: logits, a map for each landmark; "
        f"the softmax over a map's pixels is the first guess of where it is. Pixel (x, y) of a map has its centre at "
        f"((x + 0.5) {factor} - 0.5, (y + 0.5) {factor} - 0.5) of the image"
    )
    windows = {
        "patches": f"(windows, {views * patch**2}, {side}, {side}) float32: a window of {size}x{size} px around a "
        f"position" + (f", and one {module.windows.wide:g} times as wide as a second channel" if views == 2 else "")
        + f", through pixel_unshuffle by {patch}. A window's pixel is 2 window_reach sigma_t / {size} px of the image"
        + scaled,
        "t": f"(windows,) float32: the step of the position schedule, 0 to {module.noise.steps - 1}",
        "which": f"(windows, {count}) float32: one-hot, the landmark that is looked for",
    }  # fmt: skip
    evidence = (
        f"(windows, {patch**2}, {side}, {side}) float32: through pixel_shuffle by {patch}, the log-evidence, up to a "
        f"constant, that the landmark lies at each of the window's {size}x{size} px; log N(y_t; p, sigma_t^2) and "
        "prior_weight times the log of the first guess are added to it before the softmax"
    )

    def drawn(batch: int) -> tuple[torch.Tensor, ...]:
        patches, _, which = _first_call(module, module.window_network, images(batch)[0])
        return patches, torch.rand(len(patches), generator=_generator()) * (module.noise.steps - 1), which

    return [
        Network("network", "", module, image, ("logits", first), "batch", images),
        Network("window_network", ".windows", module.window_network, windows, ("evidence", evidence), "windows", drawn),
    ]


def _check_forward(module: Finder) -> None:
    """Refuse a method of somebody else's that has no network of the whole image."""
    home = next(cls for cls in type(module).__mro__ if "forward" in vars(cls))
    if not issubclass(home, Finder):
        raise UserError(f"ONNX: a {type(module).__name__} has no forward(image) of its own to export")


def _meaning(module: Finder) -> str:
    """What the maps of a method with one network mean."""
    if isinstance(module, OffsetVoting):
        return (
            "(batch, 3 landmarks, height, width) float32, pixel by pixel of the image: logits of lying in a landmark's "
            f"disc of {module.voting.radius:g} px at 640 wide, then x and then y offsets to its centre in radii"
        )
    if not isinstance(module, (HeatmapFinetune, DiffusionHeatmap)):
        return f"what the forward of {type(module).__module__}.{type(module).__qualname__} gives for an image"
    maps = "(batch, landmarks, height, width) float32, pixel by pixel of the image: "
    softmax = "logits; the softmax over a map's pixels is where the landmark is"
    if isinstance(module, HeatmapFinetune):
        others = {
            "bce": "logits; the sigmoid of a pixel is whether the landmark is there",
            "landmark_ce": "logits of the softmax over the landmarks at a pixel; what is positive is decoded as it is",
        }
        return maps + others.get(module.target.loss, softmax)
    if isinstance(module, DiffusionHeatmap) and module.parameterisation != "x0":
        return maps + f"{module.parameterisation} of x_t at t"
    return maps + softmax


def _images(count: int, width: int, height: int) -> torch.Tensor:
    """``count`` images (B, 1, H, W) in [0, 1]: noise, then phantom radiographs."""
    noise = torch.rand(1, 1, height, width, generator=_generator())
    phantoms = PhantomDataset(count=(0, 0, count - 1), image_size=(max(width, MIN_SIDE), max(height, MIN_SIDE)))
    drawn = [torch.from_numpy(phantoms.load_image(sample)) for sample in phantoms.samples("test")]
    return torch.cat([noise, *(grey[None, None, :height, :width] / 255 for grey in drawn)])


def _first_call(module: PositionDiffusion, part: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The arguments that ``part`` is first called with when ``module`` looks for the landmarks of an image."""
    calls: list[tuple[torch.Tensor, ...]] = []
    handle = part.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    try:
        for _ in module.reverse_process({"image": image, "index": torch.arange(len(image))}, count=2):
            pass
    finally:
        handle.remove()
    return calls[0]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
