"""Many radiographs through a Detector into Writers: nothing found is lost, nothing there is overwritten."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.say import say
from landmark_diffusion.core.texts import one_line
from landmark_diffusion.core.untrusted import repeated

if TYPE_CHECKING:
    from landmark_diffusion.data.readers.radiograph import Radiograph
    from landmark_diffusion.detection.detector import Detector
    from landmark_diffusion.detection.spacing import Spacing
    from landmark_diffusion.detection.writer import Writer


def detect_all(
    detector: Detector,
    paths: Sequence[Path],
    names: Sequence[str],
    writers: Sequence[Writer],
    *,
    spacing: Spacing | None = None,
    batch_size: int = 4,
    tell: Callable[[UserError], object],
    advance: Callable[[str], object],
) -> list[Path]:
    """Run all files in batches and hand each detection to the writers; returns the files that could not be used.

    ``tell`` hears what is wrong with a file, ``advance`` the name of each that is done. What was found is written out
    also where the work is interrupted.
    """
    from landmark_diffusion.data.readers.radiograph import read_radiograph

    failed: list[Path] = []
    try:
        for start in range(0, len(paths), batch_size):
            batch = slice(start, start + batch_size)
            radiographs: list[Radiograph] = []
            files: list[str] = []
            called: list[str] = []
            for path, name in zip(paths[batch], names[batch], strict=True):
                try:
                    radiographs.append(read_radiograph(path))
                except UserError as error:
                    tell(error)
                    failed.append(path)
                else:
                    files.append(str(path))
                    called.append(name)
            if radiographs:
                for detection in detector.detect(radiographs, files, called, spacing):
                    for writer in writers:
                        writer.add(detection)
            for path in paths[batch]:
                advance(path.name)
    finally:
        _close_all(writers)
    return failed


def refuse_existing(writers: Sequence[Writer], names: Sequence[str], overwrite: bool) -> None:
    """Raise UserError where results would be overwritten, before anything is run."""
    # not Path.exists, which raises where a folder may not be looked into: make_folder says that better
    targets = [path for writer in writers for path in writer.targets(names)]
    if (twice := repeated(map(str, targets))) is not None:
        raise UserError(f"--to: two of these forms write {twice}; leave one of them out")
    there = [path for path in targets if os.path.exists(path)]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise UserError(
            f"{there[0]}{more} exist already and were left as they are; name another --output, or give --overwrite"
        )


def make_folder(folder: Path) -> None:
    """Make the results' folder; raises UserError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise UserError(f"--output {folder}: cannot be written to ({one_line(error)}); name another folder") from error


def _close_all(writers: Sequence[Writer]) -> None:
    """Close the writers, and raise the first error after that: one that fails must not cost the others' results."""
    errors: list[Exception] = []
    for writer in writers:
        try:
            for path in writer.close():
                say(f"wrote {path}")
        except Exception as error:  # a writer of another package may raise anything
            errors.append(error)
    if errors:
        raise errors[0]
