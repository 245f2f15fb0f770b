"""A model as one ONNX file that takes a radiograph and gives points: resizing, chain, decoding and trust inside.

onnxruntime and numpy are enough to run it (docs/examples/onnx_points.py). Before it takes its name it has to give what
``ldx detect`` gives, on phantoms or on images of one's own.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import atomic_path, refuse_existing
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.radiograph import Radiograph
from landmark_diffusion.data.sources.phantom import MIN_SIDE, PhantomDataset
from landmark_diffusion.detection.detector import Detector, image_key, network_input
from landmark_diffusion.export.onnx_networks import network_size
from landmark_diffusion.export.traced.finders import NOISE, drawn_noise, draws_maps, traced, uses_noise
from landmark_diffusion.export.traced.resize import resize
from landmark_diffusion.export.traced.trust import Said, Trust
from landmark_diffusion.export.translation import (
    PACKAGES,
    SUFFIX,
    Call,
    check_packages,
    check_weights,
    session,
    translate,
)
from landmark_diffusion.finders.finder import Finder, LandmarkEstimate
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.spread.image_score import UNLIKE

IMAGES = 20
"""Images that a file is checked with."""
TOLERANCE = 0.01
"""Pixels of the image: how far a point may be from the one of ``ldx detect``."""
SPREAD_TOLERANCE = 0.01
"""Share of its own size that a covariance may differ by."""
MOST_UNDECIDED = 0.05
"""Share of points that torch itself need not give to a hundredth of a pixel."""
MOST_EVALUATIONS = 32
"""Network evaluations of a chain of maps, each of which is written out."""
_FACTORS = (1.0, 2.37, 0.71, 3.0, 1.24)
"""Sizes of the phantoms, in the network's."""

MEANINGS = {
    "points": "(landmarks, 2) float32: x and y in pixels of the image, the middle of the first pixel is (0, 0)",
    "covariance": "(landmarks, 2, 2) float32: of the true point about the point, in squared pixels of the image",
    "outside_probability": "(landmarks,) float32: how likely the landmark lies outside the image; above 0.5 it counts "
    "as outside, and its point is where the others say",
    "expected_error": "(landmarks,) float32: expected distance of the true point, in pixels of the image",
    "far_probability": "(landmarks,) float32: how likely the point is off by more than 5 % of the image's width",
    "doubtful": "(landmarks,) bool: whether the point may be far off, so that somebody should look",
    "image_score": "() float32: p-value in (0, 1] of the whole image; at or below the calibration's `unlike` the image "
    "is unlike those of the calibration: use none of its points",
}
NOT_INCLUDED = (
    "Reading the file (for DICOM see `intensity`), recognising mirrored, turned and negative images, and mm. "
    "landmark_diffusion (ldx detect) does them."
)
SPACING = "mm are pixels times the image's mm per pixel, along x and y; the file knows no spacing, the image has it."
REGION = (
    "The region of a stated coverage is the ellipse of all p with (p - point)^T covariance^-1 (p - point) <= q^2, "
    "q of `quantiles` by landmark and level."
)


@dataclass(frozen=True)
class Checked:
    """A file that was written, and how it compares with torch on the images of the check.

    Attributes:
        difference: the largest distance of its points from those of ``ldx detect``, in pixels.
        spread: the largest difference of covariances and expected errors, as a share of their size, and of
            probabilities to lie outside.
        undecided: points that torch itself does not give to ``TOLERANCE``, which are not compared.
        seconds: an image in torch, and in onnxruntime: medians.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    images: int
    difference: float
    spread: float
    undecided: int
    seconds: tuple[float, float]


class Program(nn.Module):
    """A detector as a graph: from an image (height, width) uint8 of any size to ``outputs``.

    With ``noise`` (draws, ...), standard normal, where the method draws (``uses_noise``).
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.finder = traced(detector.module)
        self.trust = Trust(detector.calibration)
        self.size, self.mode, self.spread = detector.size, detector.resize, detector.spread

    def forward(self, image: torch.Tensor, noise: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Find the points, and how far to trust them."""
        seen = resize(image, self.size, self.mode)
        grey = seen.grey[None, None].to(next(self.finder.parameters()).dtype) / 255
        found = self.finder.find({"image": grey, "index": [0], NOISE: noise})
        said = self._said(found)
        points = (said.points[0] + 0.5) / seen.scale - 0.5
        trusted = self.trust(said, seen.scale[:, None] * seen.scale)
        told = {"points": points, **trusted}
        return tuple(value if value.dtype == torch.bool else value.to(torch.float32) for value in told.values())

    def outputs(self, tells_outside: bool) -> list[str]:
        """Name what ``forward`` gives."""
        return ["points", *self.trust.names(tells_outside)]

    def _said(self, found: dict[str, LandmarkEstimate]) -> Said:
        """Read the points in use and the first guess, as ``Detector.answers``."""
        variant = self.finder.prediction_variant()
        main, others = found[variant], [each for name, each in found.items() if name != variant]
        first = others[0] if others else LandmarkEstimate(main.points)
        covariance = main.covariance(self.spread)
        if covariance is None:
            raise UserError(f"ONNX: a {self.finder.class_name()} says no spread of its points; export its networks")
        return Said(
            main.points.double(),
            covariance.double(),
            first.points.double() if others else None,
            None if first.within is None else first.within.double(),
            None if main.outside is None else main.outside.double(),
            None if main.missed is None else main.missed.double(),
        )


def write_program(
    path: Path,
    module: Finder,
    facts: ModelFacts,
    images: Sequence[np.ndarray] | None = None,
    overwrite: bool = False,
    checked: Callable[[int], object] = lambda done: None,
) -> Checked:
    """Write a model as one ONNX file from image to points, checked on ``images`` (H, W) uint8, else on phantoms.

    ``checked`` hears how many of them are done: 0 once the model is translated, then after each.
    Raises UserError for a missing package, a file that is there (unless ``overwrite``), weights that no file can hold,
    a method that cannot be translated, and a file that does not give the points of ``ldx detect`` to ``TOLERANCE``.
    """
    check_packages()
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: expected a file name that ends in {SUFFIX}")
    refuse_existing(path, overwrite)
    check_weights(path, module)
    size = network_size(facts)
    names = facts.landmark_names or tuple(str(place + 1) for place in range(module.num_landmarks))
    detector = Detector(module, replace(facts, landmark_names=names), path.name, device="cpu", orientation="as-is")
    _check_method(module)
    program = Program(detector).eval()
    call = _call(program, size)
    content = _translated(program, call, facts, detector)
    with atomic_path(path) as place:
        place.write_bytes(content)
        checked(0)
        return _checked(path, place, detector, program, call, images or list(phantoms(size)), checked)


def phantoms(size: tuple[int, int], count: int = IMAGES) -> Iterator[np.ndarray]:
    """Draw phantom radiographs (H, W) uint8, larger and smaller than ``size`` (width, height)."""
    for number, factor in enumerate(islice(cycle(_FACTORS), count)):
        stretched = 1 + number % 2 / 5  # every second one is wider than the network's image
        width, height = (max(MIN_SIDE, round(side)) for side in (size[0] * factor * stretched, size[1] * factor))
        drawn = PhantomDataset(count=(0, 0, 1), image_size=(width, height), seed=number)
        yield drawn.load_image(drawn.samples("test")[0])


def _check_method(module: Finder) -> None:
    """Refuse what cannot be one graph of a bearable size."""
    steps, samples = module.evaluations()
    advice = "--networks writes the network alone"
    if module.decoding.decoder == "largest_region":
        raise UserError(
            "ONNX: the decoder largest_region follows connected regions, which ONNX has no operator for; "
            f"train or export with half_max, or {advice}"
        )
    if draws_maps(module) and steps * samples > MOST_EVALUATIONS:
        raise UserError(
            f"ONNX: the chain of this model has {steps * samples} network evaluations, and one file holds at most "
            f"{MOST_EVALUATIONS} of a method whose noise is in maps; set model.sampling.steps lower, or {advice}"
        )


def _call(program: Program, size: tuple[int, int]) -> Call:
    """Run the program in torch once, and say how its graph is called."""
    image = torch.zeros(size[1] + 16, size[0] + 16, dtype=torch.uint8)  # neither side is special to the tracer
    arguments: tuple[torch.Tensor, ...] = (image,)
    free: tuple[dict[int, str], ...] = ({0: "height", 1: "width"},)
    with torch.no_grad():
        if uses_noise(program.finder):
            arguments, free = (image, drawn_noise(program.finder, size)), (*free, {})
        found = program(*arguments)
    tells = len(found) == len(program.outputs(True))
    return Call(arguments, free, ["image", NOISE][: len(arguments)], program.outputs(tells), strict=False)


def _translated(program: Program, call: Call, facts: ModelFacts, detector: Detector) -> bytes:
    try:
        return translate(program, call, "program", _metadata(program, call, facts, detector))
    except UserError:
        raise
    except Exception as error:  # torch's exporter raises anything
        raise UserError(
            f"ONNX: a {program.finder.class_name()} cannot be translated from image to points ({one_line(error)}); "
            "--networks writes its network alone"
        ) from error


def _metadata(program: Program, call: Call, facts: ModelFacts, detector: Detector) -> dict[str, str]:
    """What the file says of itself; values are texts, those with structure JSON."""
    from landmark_diffusion.core.version import version

    inputs = {"image": "(height, width) uint8: grey levels of any size, by the rule in `intensity`; resized inside"}
    if len(call.arguments) > 1:
        shape = ", ".join(map(str, call.arguments[1].shape))
        inputs[NOISE] = f"({shape}) float32: standard normal draws, in the order in which the chain takes them"
    structured = {
        "landmark_names": list(facts.landmark_names),
        "network_size": list(detector.size),
        "inputs": inputs,
        "outputs": {name: MEANINGS[name] for name in call.outputs},
        "settings": {**detector.settings, "seed": detector.seed},
        "calibration": _calibration(facts, detector),
        "options": facts.model,
    }
    return {
        "package": "landmark_diffusion",
        "package_version": version(),
        "class": facts.class_path,
        "network": "program",
        "resize": detector.resize,
        "intensity": str(facts.intensity.get("rule", "")),
        "spacing": SPACING,
        "not_included": NOT_INCLUDED,
        "note": facts.note,
        **{key: json.dumps(value, ensure_ascii=False) for key, value in structured.items()},
    }


def _calibration(facts: ModelFacts, detector: Detector) -> dict[str, Any] | None:
    """What turns covariances into regions; None for a model that is not calibrated for these settings."""
    found = detector.calibration
    if found is None or facts.calibration is None:
        return None
    return {
        "source": facts.calibration["source"],
        "images": facts.calibration["images"],
        "level": found.spread.usual_level,
        "levels": list(found.spread.levels),
        "quantiles": found.spread.quantiles.tolist(),
        "region": REGION,
        "unlike": UNLIKE if found.can_tell else None,
    }


# ---- the check -------------------------------------------------------------------------------------------------------


def _checked(
    target: Path, place: Path, detector: Detector, program: Program, call: Call, images: Sequence[np.ndarray],
    checked: Callable[[int], object],
) -> Checked:  # fmt: skip
    """Run the file at ``place`` against ``ldx detect``; raises UserError where a point is elsewhere."""
    runtime = session(place)
    far = spread = 0.0
    undecided, seconds = 0, []
    for number, grey in enumerate(images, start=1):
        begun = time.perf_counter()
        radiograph = Radiograph(grey, None, UNKNOWN_SPACING, (), 8)
        (expected,) = detector.detect([radiograph], ["image"], ["image"], explain=False)
        between = time.perf_counter()
        feed = {"image": grey} | _noise_feed(detector, grey, call)
        found = dict(zip(call.outputs, runtime.run(None, feed), strict=True))
        seconds.append((between - begun, time.perf_counter() - between))
        away = np.linalg.norm(found["points"] - expected.points, axis=-1)
        assert expected.covariance is not None
        sizes = np.trace(expected.covariance, axis1=-2, axis2=-1)
        wider = np.abs(found["covariance"] - expected.covariance).max((-2, -1)) / sizes
        if expected.outside is not None:
            wider = np.maximum(wider, np.abs(found["outside_probability"] - expected.outside))
        if expected.expected_error is not None:
            wider = np.maximum(wider, np.abs(found["expected_error"] / expected.expected_error - 1))
        known = np.isfinite(expected.points).all(-1)
        if not (away[known] <= TOLERANCE).all() or not (wider[known] <= SPREAD_TOLERANCE).all():
            known &= ~_undecided(program, expected.points, feed)
            undecided += int((~known).sum())
        far, spread = _largest(far, away[known]), _largest(spread, wider[known])
        checked(number)
    count = len(images) * len(detector.facts.landmark_names)
    if undecided > MOST_UNDECIDED * count and far <= TOLERANCE and spread <= SPREAD_TOLERANCE:
        raise UserError(
            f"{target}: not written, since it cannot be checked: torch itself finds {undecided} of {count} points on "
            f"{len(images)} images elsewhere when it computes in float64. So it is of a model that has learned too "
            "little, or of images that are not what it learned: train it for longer, or name images by --check"
        )
    if not far <= TOLERANCE or not spread <= SPREAD_TOLERANCE or undecided > MOST_UNDECIDED * count:
        raise UserError(
            f"{target}: not written, since onnxruntime gives other points than torch: on {len(images)} images they are "
            f"up to {far:.2g} px apart (expected at most {TOLERANCE:g}), covariances differ by {spread:.1%} (expected "
            f"at most {SPREAD_TOLERANCE:.0%}), and torch itself leaves {undecided} of {count} points open. Are the "
            f"packages {', '.join(PACKAGES)} and torch of one time? constraints.txt names versions that go together"
        )
    torch_s, onnx_s = np.median(np.array(seconds), 0)
    return Checked(
        target, tuple(call.inputs), tuple(call.outputs), len(images), far, spread, undecided, (torch_s, onnx_s)
    )


def _noise_feed(detector: Detector, grey: np.ndarray, call: Call) -> dict[str, np.ndarray]:
    """The draws that ``ldx detect`` takes for an image, where there are any."""
    if len(call.arguments) == 1:
        return {}
    frame = Frame.fit((grey.shape[1], grey.shape[0]), detector.size, detector.resize)
    seen = network_input(grey, frame)
    detector.module.fixed_seed = detector.seed
    batch = {"image": seen[None], "index": [image_key(seen)]}
    return {NOISE: drawn_noise(detector.module, detector.size, batch).numpy()}


def _undecided(program: Program, points: np.ndarray, feed: dict[str, np.ndarray]) -> np.ndarray:
    """Which points (N,) torch gives otherwise when it calculates in float64: two places that are equally likely."""
    precise = copy.deepcopy(program).double()
    with torch.no_grad():
        found, *_ = precise(*(torch.from_numpy(value) for value in feed.values()))
    away: np.ndarray = np.linalg.norm(found.numpy() - points, axis=-1)
    return away > TOLERANCE / 2


def _largest(so_far: float, values: np.ndarray) -> float:
    """The larger of ``so_far`` and the largest value; NaN where one is."""
    return float(np.max([so_far, *values]))
