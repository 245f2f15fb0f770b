"""How many images were read, refused, and unlike those of the calibration: what ``ldx detect`` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.texts import counted
from landmark_diffusion.detection.writer import Writer

if TYPE_CHECKING:
    from landmark_diffusion.detection.detection import Detection


class Tally(Writer):
    """Count detections; writes no file.

    Attributes:
        read: images that points were found in.
        reasons: of those that are unlike, how many for each reason.
        judged: whether each image was called unlike or not; None before the first.
    """

    name = "tally"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read = 0
        self.reasons: Counter[str] = Counter()
        self.judged: bool | None = None

    def targets(self, names: Sequence[str]) -> list[Path]:
        """List nothing."""
        return []

    def add(self, detection: Detection) -> None:
        """Count one image."""
        self.read += 1
        self.judged = detection.unlike is not None
        if detection.unlike:
            self.reasons[detection.unlike_reason or "unknown"] += 1

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
        if self.judged is None:
            return text
        if not self.judged:
            return f"{text}; whether an image is unlike the others is not known without a calibration that can tell"
        return f"{text}; {self.unlike or 'none'} unlike those that the model was calibrated on"

    def warning(self) -> str:
        """Say how many images are unlike, why, and what to do; empty where none is."""
        if not self.unlike:
            return ""
        reasons = ", ".join(f"{count} {_reason(reason)}" for reason, count in self.reasons.most_common())
        return (
            f"{self.unlike} of {counted(self.read, 'image')} {'is' if self.unlike == 1 else 'are'} unlike those that "
            f"the model was calibrated on ({reasons}): use no point of these, and no region is stated for them. The "
            "columns unlike and unlike_reason name them; undo what the reason says and detect again, or take another "
            "model"
        )


def _reason(reason: str) -> str:
    return "for unknown reasons" if reason == "unknown" else reason
