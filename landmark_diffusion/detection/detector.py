"""Detector: from a radiograph to its landmarks with an exported model; what ``ldx detect`` and Python users call."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image

from landmark_diffusion.core.errors import UserError, check_choice
from landmark_diffusion.data.checks.physical import size_doubt
from landmark_diffusion.data.forms import UPRIGHT, Form
from landmark_diffusion.data.geometry import Frame, ResizeMode, covariance_factors
from landmark_diffusion.data.readers.dicom_spacing import UNKNOWN_SPACING
from landmark_diffusion.data.readers.image_io import one_grey
from landmark_diffusion.data.readers.radiograph import Radiograph, read_radiograph
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.model import load_module
from landmark_diffusion.detection.orientation import in_file
from landmark_diffusion.detection.reasons import exposure, find_reasons, reason_note
from landmark_diffusion.detection.spacing import OPTION_SPACING, Spacing, check_spacing
from landmark_diffusion.finders.finder import SPREADS, Finder, LandmarkEstimate, SpreadKind
from landmark_diffusion.finders.orientation import RecognisedForm, recognise
from landmark_diffusion.heatmaps.decoders import DECODERS, DecoderKind
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.spread.answers import Answers
from landmark_diffusion.spread.calibration import LEVEL
from landmark_diffusion.spread.image_score import UNLIKE
from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration

_Look = tuple[list[Frame], Answers]
OrientationChoice = Literal["auto", "as-is"]
ORIENTATIONS: tuple[str, ...] = get_args(OrientationChoice)
UNLIKE_NOTE = (
    "The image is unlike those that the model was calibrated on: no point of it should be relied on, and neither "
    "regions nor expected errors can be stated."
)


class Detector:
    """Find landmarks in radiographs.

        detector = Detector.load("weights/ceph_small.ldx")
        detection = detector("radiograph.png")
        detection.save("radiograph.json")

    Args:
        module: the method, with its weights; its options of sampling are set here.
        facts: what the model file says of itself.
        model: the file's name, for results.
        fast: the fewest evaluations that are nearly as good, and one sample; gives way to ``steps`` and ``samples``.
        steps, samples: network evaluations and sampled chains an image; None leaves the model's own.
        decoder: how maps become points; None leaves the model's own.
        spread: the covariance comes from the "heatmap", from the "samples", or from "both".
        level: stated coverage of the regions, among those that the model was calibrated for; None takes 90 %, or
            the highest below where so few images calibrated it that 90 % is not stated.
        seed: of sampled chains; None takes the model's. The same image, options and seed give the same points.
        device: "cpu", "cuda", "cuda:1"; None takes a GPU where there is one.
        orientation: "auto" recognises mirrored, turned and negative images, where the model has learned to, and puts
            them right for the network; "as-is" takes every image as it is. Points are in the file's pixels either way.

    Raises UserError for options that this model has not.
    """

    def __init__(
        self,
        module: Finder,
        facts: ModelFacts,
        model: str = "",
        *,
        fast: bool = False,
        steps: int | None = None,
        samples: int | None = None,
        decoder: DecoderKind | None = None,
        spread: SpreadKind = "both",
        level: float | None = None,
        seed: int | None = None,
        device: str | None = None,
        orientation: OrientationChoice = "auto",
    ) -> None:
        check_choice("orientation", orientation, ORIENTATIONS)
        if decoder is not None:
            check_choice("decoder", decoder, DECODERS)
            module.decoding = replace(module.decoding, decoder=decoder)
        if fast:
            steps, samples = steps or module.fast_steps, samples or 1
        module.choose_sampling(steps, samples)
        check_choice("spread", spread, SPREADS)
        if spread == "samples" and module.prediction_settings()["samples"] < 2:
            raise UserError("spread: samples needs several; set samples to 2 or more")
        self.device = _device(device)
        self.module, self.facts, self.model = module.to(self.device), facts, model
        self.spread: SpreadKind = spread
        if level is not None and not 0 < level < 1:
            raise UserError(f"level: found {level:g}, expected a number between 0 and 1")
        self.seed = seed if seed is not None else facts.seed or 0
        if self.seed < 0:
            raise UserError(f"seed: found {self.seed}, expected a whole number from 0")
        self.size: tuple[int, int] = (int(facts.data["size"][0]), int(facts.data["size"][1]))
        self.resize: ResizeMode = facts.data.get("resize") or "stretch"
        self.calibration = self._find_calibration()
        self.form_network = self.module.form_network if orientation == "auto" else None
        """What recognises the orientation; None where the model cannot, or is not to."""
        self.level = self._choose_level(level)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Detector:
        """Read a model file of ``ldx export``, or its folder for a hub; ``options`` are those of the class.

        Raises UserError naming the file.
        """
        module, facts = load_module(path)
        return cls(module, facts, Path(path).name or Path(path).resolve().name, **options)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the points and their spread beside the weights."""
        return self.module.prediction_settings(self.spread)

    def _find_calibration(self) -> SettingCalibration | None:
        if self.facts.calibration is None:
            return None
        return Calibration.from_dict(self.facts.calibration, self.module.num_landmarks, self.model).find(self.settings)

    def _choose_level(self, asked: float | None) -> float:
        if self.calibration is None:
            return LEVEL if asked is None else asked
        if asked is None:
            return self.calibration.spread.usual_level
        self.calibration.spread.check_level(asked)
        return asked

    def __call__(
        self, image: str | Path | np.ndarray | Radiograph, spacing: float | Spacing | None = None, name: str = ""
    ) -> Detection:
        """Find the landmarks of one radiograph: a file, (H, W) or (H, W, 3) uint8, or what read_radiograph gives.

        ``spacing`` in mm per pixel, one value or (x, y), goes before that of the file. Raises UserError (DataError with
        the file) for an image that cannot be read.
        """
        radiograph = image if isinstance(image, Radiograph) else _read(image)
        path = str(image) if isinstance(image, (str, Path)) else name or "image"
        return self.detect([radiograph], [path], [name or Path(path).stem], spacing)[0]

    def detect(
        self,
        radiographs: Sequence[Radiograph],
        paths: Sequence[str],
        names: Sequence[str],
        spacing: float | Spacing | None = None,
        explain: bool = True,
    ) -> list[Detection]:
        """Find the landmarks of one batch of radiographs.

        Those that are unlike the calibration's are looked at again, up to ``reasons.MOST_LOOKS`` times, to say why,
        unless ``explain`` is False.
        """
        given = None if spacing is None else check_spacing(spacing)
        forms, looks = self._recognise([each.grey for each in radiographs])
        used = tuple(UPRIGHT if form is None else form.used for form in forms)
        greys = [form.undo(each.grey) for each, form in zip(radiographs, used, strict=True)]
        frames, answers = looks[used] if used in looks else self.look(greys)
        found = [
            self._detection(radiograph, frames[place], answers, place, paths[place], names[place], given)
            for place, radiograph in enumerate(radiographs)
        ]
        explained = self._explained(found, greys, forms) if explain else found
        return [each if form is None else in_file(each, form) for each, form in zip(explained, forms, strict=True)]

    def recognise(self, greys: Sequence[np.ndarray]) -> list[RecognisedForm | None]:
        """Say in which form each image (H, W) uint8 is; None where the model cannot tell, or is not to.

        One that is not upright is looked at both ways where the calibration tells which points are right: an odd
        frame or cover may deceive what tells forms, but seldom the landmarks as well.
        """
        return self._recognise(greys)[0]

    def _recognise(
        self, greys: Sequence[np.ndarray]
    ) -> tuple[list[RecognisedForm | None], dict[tuple[Form, ...], _Look]]:
        """Recognise, and hand on what was seen of all images on the way, by the forms that were undone.

        Only looks at the whole batch: in another one the network rounds otherwise.
        """
        if self.form_network is None:
            return [None] * len(greys), {}
        forms = recognise(self.form_network, greys)
        doubt = None if self.calibration is None else self.calibration.doubt
        turned = [place for place, each in enumerate(forms) if each.form != UPRIGHT]
        if doubt is None or not turned:
            return [*forms], {}
        as_is = self.look([greys[place] for place in turned])
        right = self.look([forms[place].form.undo(greys[place]) for place in turned])
        looks = {(UPRIGHT,) * len(greys): as_is, tuple(each.form for each in forms): right}
        for place, better in zip(turned, doubt.image_scores(right[1]) < doubt.image_scores(as_is[1]), strict=True):
            forms[place] = forms[place]._replace(by_landmarks=bool(better))
        return [*forms], looks if len(turned) == len(greys) else {}

    def look(self, greys: Sequence[np.ndarray]) -> _Look:
        """What the model says of images (H, W) uint8, in network pixels, and how these lie in the images."""
        frames = [Frame.fit(each.shape[::-1], self.size, self.resize) for each in greys]
        inputs = [network_input(each, frame) for each, frame in zip(greys, frames, strict=True)]
        return frames, self.answers(self.find(inputs))

    def _explained(
        self, detections: list[Detection], greys: Sequence[np.ndarray], forms: Sequence[RecognisedForm | None]
    ) -> list[Detection]:
        """Say of those that are unlike why they are; ``greys`` are the images as the network saw them."""
        unlike = [place for place, each in enumerate(detections) if each.unlike]
        known = [form is not None and form.certain for form in forms]
        reasons = find_reasons([greys[place] for place in unlike], self._scores, [known[place] for place in unlike])
        for place, reason in zip(unlike, reasons, strict=True):
            notes = (*detections[place].notes, reason_note(reason, exposure(greys[place]), known[place]))
            detections[place] = replace(detections[place], unlike_reason=reason, notes=notes)
        return detections

    def _scores(self, greys: Sequence[np.ndarray]) -> np.ndarray:
        """P-values of images (H, W) uint8 as a whole."""
        assert self.calibration is not None
        return self.calibration.image_p_values(self.look(greys)[1])

    def find(self, images: Sequence[torch.Tensor]) -> dict[str, LandmarkEstimate]:
        """Run the method on images (1, H, W) in [0, 1] of the network's size: its variants.

        The noise of sampled chains is keyed by the seed and the image's content, so that neither its name nor the
        order nor the batch matter.
        """
        self.module.fixed_seed = self.seed
        keys = [image_key(image) for image in images]
        with torch.no_grad():
            return self.module.find({"image": torch.stack(list(images)).to(self.device), "index": torch.tensor(keys)})

    def answers(self, found: dict[str, LandmarkEstimate]) -> Answers:
        """Read the points in use, and the first guess where it is another, from what ``find`` gave."""
        variant = self.module.prediction_variant()
        main = found[variant]
        covariance = main.covariance(self.spread)
        if covariance is None and main.within is not None:
            raise UserError(f"spread: samples has none here: {variant} points come from one look, without samples")
        first = next((each for name, each in found.items() if name != variant), None)
        return Answers(
            _array(main.points),
            _array(covariance),
            None if first is None else _array(first.points),
            None if first is None else _array(first.within),
            _array(main.outside),
            _array(main.missed),
        )

    def _detection(
        self, radiograph: Radiograph, frame: Frame, answers: Answers, place: int, path: str, name: str,
        spacing: Spacing | None,
    ) -> Detection:  # fmt: skip
        """Bring one image's answer to the pixels of the image that the network saw; the rest is the file's."""
        trust = self._trust(answers.take(slice(place, place + 1)), frame)
        size, mm = (radiograph.grey.shape[1], radiograph.grey.shape[0]), spacing or radiograph.spacing
        doubt = None if mm is None else size_doubt(size, mm)
        return Detection(
            name=name,
            path=path,
            size=size,
            landmark_names=self.facts.landmark_names,
            points=frame.to_original(answers.points[place]),
            spacing=mm,
            spacing_source=OPTION_SPACING if spacing else radiograph.spacing_source,
            notes=(*radiograph.notes, *_sentence(doubt), *([UNLIKE_NOTE] if trust.get("unlike") else [])),
            model=self.model,
            settings={**self.settings, "seed": self.seed},
            pixels=radiograph.grey,
            **trust,
        )

    def _trust(self, answer: Answers, frame: Frame) -> dict[str, Any]:
        """Say how far to trust one image's points, in original pixels, calibrated where possible."""
        if answer.covariance is None:
            return {}
        factors = covariance_factors(np.asarray(frame.scale))
        calibration, doubt = self.calibration, None if self.calibration is None else self.calibration.doubt
        outside = answer.outside if doubt is None else doubt.outside_probability(answer)
        found: dict[str, Any] = {} if outside is None else {"outside": outside[0]}
        if calibration is None:
            return {**found, "covariance": answer.covariance[0] / factors}
        spreads = calibration.spread.spreads(calibration.covariance(answer)[0], factors, self.level)
        score = float(calibration.image_p_values(answer)[0])
        found |= {
            "covariance": spreads.covariance,
            "image_score": score,
            "unlike": score <= UNLIKE if calibration.can_tell else None,
        }
        if doubt is not None:
            found |= {"far": doubt.probability(answer)[0], "doubtful": doubt.doubtful(answer)[0]}
        if found["unlike"]:  # what regions state was learned on other images and would not hold
            return found
        return {**found, "level": spreads.level, "regions": spreads.regions, "expected_error": spreads.expected_error}


def network_input(grey: np.ndarray, frame: Frame) -> torch.Tensor:
    """Resize (H, W) uint8 grey to the network's input (1, H, W) in [0, 1], as in training without augmentation."""
    return torch.from_numpy(resize_image(grey, frame)).unsqueeze(0).float() / 255


def image_key(image: torch.Tensor) -> int:
    """Give the key of an image's noise, by its content (1, H, W) as the network sees it."""
    return zlib.crc32(image.numpy().tobytes())


def _sentence(doubt: str | None) -> list[str]:
    return [] if doubt is None else [f"{doubt[0].upper()}{doubt[1:]}: all mm may be wrong."]


def _read(image: str | Path | np.ndarray) -> Radiograph:
    if isinstance(image, (str, Path)):
        return read_radiograph(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise UserError(f"found a {kind} as image, expected a file's name, or a uint8 array (H, W) or (H, W, 3)")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (3,)):
        raise UserError(
            f"found an array of {image.dtype} and shape {image.shape}, expected uint8 of (H, W) or (H, W, 3); other "
            "depths are read from files, where the rule for them is known"
        )
    grey = image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))
    found = one_grey(grey)
    return Radiograph(grey, None, UNKNOWN_SPACING, (f"{found}.",) if found else (), 8)


def _array(value: torch.Tensor | None) -> Any:
    return None if value is None else value.detach().to("cpu", torch.float64).numpy()


def _device(asked: str | None) -> torch.device:
    try:
        device = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).cpu()  # which devices without values, such as meta, cannot do
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # torch lists every device that it was ever built for
            called = " (a GPU is called cuda)" if str(asked).startswith(("gpu", "GPU")) else ""
            raise UserError(f"device: found {asked!r}, expected cpu, cuda or cuda:1{called}") from error
        raise UserError(f"device: {asked!r} cannot be used ({reason}); expected cpu or cuda") from error
    return device
