"""Writer: detections come in one by one, their measures and tracings go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.files import writing
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.orientation import turned_upright
from landmark_diffusion.detection.writer import Writer
from landmark_diffusion.studies.cephalometry.analysis import Analysis, analyse, no_findings, unused
from landmark_diffusion.studies.cephalometry.facing import ADVICE
from landmark_diffusion.studies.cephalometry.measures import Facing
from landmark_diffusion.studies.cephalometry.plausible import HUMAN
from landmark_diffusion.studies.cephalometry.tables import (
    MEASURES_CSV,
    MEASURES_JSON,
    SYMBOLS,
    value_words,
    write_measures,
)

NOT_CALIBRATED = "The spread of the points is not calibrated: there are no intervals and no probabilities."


class MeasuresWriter(Writer):
    """Write ``measures.csv``, ``measures.json`` and ``tracings/NAME.png``.

    An image whose measures cannot be told, such as a face on its head, is left out and does not stop the others. One
    that is unlike the training images has values and no classes.

    Args:
        folder: results' folder; it need not exist yet.
        facing: the side that the faces look to; None finds it from each image's points.
        tracings: whether the pictures are drawn.

    Attributes:
        analyses: image's name to what was found.
        failures: image's name to why it has no measures.
        unlike: names of the images that are unlike the training images, with the reason.
        doubtful: names of the other images with measures that no head has, or points in a wrong order.
        look_at: names of these other images to the doubtful points that their measures rest on.
        warnings: what else the reader has to know, one line each.
    """

    name = "measures"

    def __init__(self, folder: Path, facing: Facing | None = None, tracings: bool = True) -> None:
        super().__init__(folder)
        self.facing, self.tracings = facing, tracings
        self.analyses: dict[str, Analysis] = {}
        self.failures: dict[str, UserError] = {}
        self.unlike: dict[str, str] = {}
        self.doubtful: list[str] = []
        self.look_at: dict[str, tuple[str, ...]] = {}
        self.warnings: list[str] = []
        self._facts: dict[str, dict[str, Any]] = {}

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List both tables, and a tracing a name."""
        tracings = [self._tracing(name) for name in names] if self.tracings else []
        return [self.folder / MEASURES_CSV, self.folder / MEASURES_JSON, *tracings]

    def add(self, detection: Detection) -> None:
        """Analyse one image and draw it at once; raises UserError where its tracing cannot be written."""
        try:
            analysis = self._analyse(detection)
        except UserError as error:
            self.failures[detection.name] = error
            return
        self.analyses[detection.name] = analysis
        self._facts[detection.name] = _facts(detection)
        if detection.unlike:
            self.unlike[detection.name] = detection.unlike_reason or "unknown"
        elif doubt := doubt_words(analysis):
            self.doubtful.append(detection.name)
            self.warnings.append(f"{detection.name}: {doubt}")
        if analysis.in_doubt and not detection.unlike:
            names = (name for each in analysis.in_doubt for name in each.doubtful)
            self.look_at[detection.name] = tuple(dict.fromkeys(names))
        if self.tracings:
            from landmark_diffusion.studies.cephalometry.tracing import tracing_picture

            path = self._tracing(detection.name)
            with writing(path):
                tracing_picture(path, self._with_pixels(detection), analysis)

    def close(self) -> list[Path]:
        """Write both tables and return what there is to open; nothing where no image was analysed."""
        if not self.analyses:
            return []
        with writing(self.folder):
            paths = write_measures(self.folder, self.analyses, self._facts)
        return [*paths, self.folder / "tracings"] if self.tracings else paths

    def _tracing(self, name: str) -> Path:
        return self.folder / "tracings" / f"{name}.png"

    def _analyse(self, detection: Detection) -> Analysis:
        detection = turned_upright(detection)
        calibrated = detection.covariance if detection.level is not None else None
        try:
            analysis = analyse(
                detection.points, detection.landmark_names, detection.spacing, calibrated, self.facing,
                absent=detection.absent, doubtful=detection.in_doubt,
            )  # fmt: skip
        except UserError as error:
            if not detection.unlike:
                raise
            note, why = f"no class, do not use: {detection.unlike_words}", str(error).removesuffix(ADVICE)
            return Analysis(no_findings(note), None, "not known", (why,))
        if detection.unlike:
            note = f"no class, do not use: {detection.unlike_words}"
            return replace(analysis, findings=unused(analysis.findings, note), doubts=())
        if detection.covariance is not None and calibrated is None:
            analysis = replace(analysis, notes=(*analysis.notes, NOT_CALIBRATED))
        return analysis

    def _with_pixels(self, detection: Detection) -> Detection:
        """Read the radiograph that points were found in, if it is still where it was; else the ground is plain."""
        if detection.pixels is not None:
            return detection
        from landmark_diffusion.data.readers.radiograph import read_radiograph

        try:
            pixels = read_radiograph(Path(detection.path)).grey
        except UserError as error:
            self.warnings.append(f"{detection.name} is traced on a plain ground: {error}")
            return detection
        if pixels.shape[::-1] != detection.size:
            found, expected = ("x".join(map(str, size)) for size in (pixels.shape[::-1], detection.size))
            self.warnings.append(
                f"{detection.name} is traced on a plain ground: {detection.path} has {found} px now, the points are of "
                f"an image of {expected}"
            )
            return detection
        return replace(detection, pixels=pixels)


def doubt_words(analysis: Analysis) -> str:
    """Say in a line which measures no head has, what is wrong with the points, and what to do; empty for none."""
    odd = [
        f"{each.measure.name} {value_words(each)} ({low:g} to {high:g}{SYMBOLS[each.unit]})"
        for each in analysis.impossible
        for low, high in [HUMAN[each.measure.name]]
    ]
    if not odd and not analysis.doubts:
        return ""
    ranges = f"no head has {', '.join(odd)}, in brackets the widest that is possible" if odd else ""
    cause = "; ".join(analysis.doubts) or "points are far off, or the image is turned or mirrored"
    return f"{'; '.join(filter(None, (ranges, cause)))}: no class for the measures concerned, look at the points"


def _facts(detection: Detection) -> dict[str, Any]:
    """What measures.json says of an image beside its measures."""
    return {
        "path": detection.path,
        "model": detection.model or None,
        "spacing": None if detection.spacing is None else list(detection.spacing),
        "spacing_source": detection.spacing_source,
        "unlike": detection.unlike,
        "unlike_reason": detection.unlike_reason or None,
        "orientation": detection.orientation or None,
        "notes": list(detection.notes),
    }
