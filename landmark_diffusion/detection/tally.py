"""How many images were read, refused, and unlike those of the calibration: what ``ldx detect`` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.texts import counted
from landmark_diffusion.data.checks.physical import size_doubt
from landmark_diffusion.data.forms import UPRIGHT
from landmark_diffusion.detection.writer import Writer

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection

ABSENT = "absent landmark"


class Tally(Writer):
    """Count detections; writes no file.

    Attributes:
        read: images that points were found in.
        turned: those that were recognised as mirrored, turned or negative.
        reasons: of those that are unlike, how many for each reason.
        judged: whether each image was called unlike or not; None before the first.
        doubtful, absent: doubtful points, and landmarks outside the image, of the images that are not unlike, by name;
            None where no model told.
        sizes: of images that no radiograph is as large or small as by their spacing, what says so.
    """

    name = "tally"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read = 0
        self.turned = 0
        self.reasons: Counter[str] = Counter()
        self.judged: bool | None = None
        self.doubtful: Counter[str] | None = None
        self.absent: Counter[str] | None = None
        self.sizes: list[str] = []

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List nothing."""
        return []

    def add(self, detection: Detection) -> None:
        """Count one image."""
        self.read += 1
        self.turned += detection.form != UPRIGHT
        self.judged = detection.unlike is not None
        if detection.spacing is not None and (said := size_doubt(detection.size, detection.spacing)):
            self.sizes.append(said)
        if detection.unlike:
            self.reasons[detection.unlike_reason or "unknown"] += 1
            return
        if detection.doubtful is not None:
            self.doubtful = self.doubtful or Counter()
            self.doubtful[detection.name] += int(detection.in_doubt.sum())
        if detection.outside is not None:
            self.absent = self.absent or Counter()
            self.absent[detection.name] += int(detection.absent.sum())

    def close(self) -> list[Path]:
        """Return nothing: the words are asked for."""
        return []

    @property
    def unlike(self) -> int:
        """How many images are unlike."""
        return self.reasons.total()

    def summary(self, refused: int) -> str:
        """Say how many files there were and what became of them."""
        text = f"{counted(self.read + refused, 'file')}: {self.read} read, {refused} refused"
        if self.turned:
            text += f"; {self.turned} recognised as mirrored, turned or negative (column orientation)"
        if self.judged is None:
            return text
        if not self.judged:
            text += "; whether an image is unlike the others is not known without a calibration that can tell"
        else:
            text += f"; {self.unlike or 'none'} unlike those that the model was calibrated on"
        found = "; ".join(filter(None, (_told(self.doubtful, "doubtful point"), _told(self.absent, ABSENT))))
        return f"{text}; {'of the others ' * bool(self.unlike)}{found}" if found else text

    def warnings(self) -> list[str]:
        """Say what to look at and what not to use, a line each: single points, and images that are unlike, and why."""
        return [*filter(None, (self._of_sizes(), self._of_points(), self._of_images()))]

    def _of_sizes(self) -> str:
        if not self.sizes:
            return ""
        many = f", and likewise {len(self.sizes)} of {counted(self.read, 'image')}" if len(self.sizes) > 1 else ""
        return f"{self.sizes[0]}{many}: all mm may be wrong; --spacing says how many mm a pixel has"

    def _of_points(self) -> str:
        words = []
        if doubtful := self.doubtful and self.doubtful.total():
            words.append(
                f"look at {counted(doubtful, 'doubtful point')} before you use {_it(doubtful)} (column doubtful)"
            )
        if absent := self.absent and self.absent.total():
            words.append(f"do not use the point of {counted(absent, ABSENT)} (outside_probability above 0.5)")
        return "; ".join(words)

    def _of_images(self) -> str:
        if not self.unlike:
            return ""
        reasons = ", ".join(f"{count} {_reason(reason)}" for reason, count in self.reasons.most_common())
        return (
            f"{self.unlike} of {counted(self.read, 'image')} {'is' if self.unlike == 1 else 'are'} unlike those that "
            f"the model was calibrated on ({reasons}): use no point of these, and no region is stated for them. The "
            "columns unlike and unlike_reason name them; undo what the reason says and detect again, or take another "
            "model"
        )


def _told(counts: Counter[str] | None, what: str) -> str:
    """So many of these, in so many images; empty where nobody told."""
    if counts is None:
        return ""
    total, images = counts.total(), sum(count > 0 for count in counts.values())
    return f"{counted(total, what)} in {counted(images, 'image')}" if total else f"no {what}"


def _it(count: int) -> str:
    return "it" if count == 1 else "them"


def _reason(reason: str) -> str:
    return "for unknown reasons" if reason == "unknown" else reason
