"""Out-of-fold models: for weights that were trained on all images, the same training on all but a part of them.

Cross-conformal calibration (Vovk 2015): each image is judged by the fold's model that has not seen it, and what is
learned so is used with the weights trained on all, which err about as much, rather a little less.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.json_files import read_json, write_json
from landmark_diffusion.core.say import PART_OF_A_WHOLE, unsaid
from landmark_diffusion.core.signals import handling
from landmark_diffusion.data.splits import by_patient, few_shot_order
from landmark_diffusion.training.folder import RunFolder, read_updates

NOTE = "fold.json"
"""What a fold's run folder says of it: the images that were held out, and whether the training came to its end."""


@dataclass(frozen=True)
class Fold:
    """One training without a part of the images.

    Attributes:
        name: such as 2_of_5.
        folder: its run folder.
        kept, held_out: ids of the images that train, and of those that are judged.
    """

    name: str
    folder: Path
    kept: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def title(self) -> str:
        """Name it for people: "fold 2 of 5"; a training on all images has its own name."""
        return f"fold {self.name.replace('_', ' ')}" if self.held_out else self.name

    def standing(self, updates: int | None) -> str:
        """Say where a training stands that was stopped, or came to its end; empty where it begins.

        ``updates`` is its whole length, where it is known.
        """
        done = self.updates_done(updates)
        if self.finished or (updates is not None and done >= updates):
            return "trained already"
        of = "" if updates is None else f" of {updates}"
        return f"goes on at update {done}{of}" if done else ""

    def updates_done(self, most: int | None = None) -> int:
        """Count the updates behind a training that was stopped, at most ``most``."""
        with unsaid():  # of a damaged checkpoint the training itself tells
            last = RunFolder(self.folder).last()
        done = 0 if last is None else max(read_updates(last), 0)
        return done if most is None else min(done, most)

    @property
    def finished(self) -> bool:
        """Tell whether the training came to its end."""
        return bool(self._note().get("finished"))

    def train(self, arguments: Sequence[str]) -> None:
        """Train by ``ldx fit`` with ``arguments``, in a process of its own, or continue what was stopped.

        Raises UserError where the folder holds another fold's run, or the training fails; its own words are above.
        """
        if self.finished:
            return
        run = RunFolder(self.folder)
        self._claim(run)
        command = [*arguments, f"--data.train_images={json.dumps(self.kept)}", f"--run_folder={self.folder}"]
        command += ["--ckpt_path=last"] if run.has_checkpoint() else []
        status = _run([sys.executable, "-m", "landmark_diffusion", "fit", *command])
        if status:
            raise UserError(
                f"{self.title}: the training ended with exit status {status}; what it said is above. The same "
                "command goes on from its last checkpoint"
            )
        self._write(finished=True)

    def checkpoint(self, updates: int) -> Path:
        """Give the last checkpoint where the model, of so many updates, is the last too, else the best, else the last.

        A model with fewer updates than the training was chosen by validation, as the best is.
        """
        run = RunFolder(self.folder)
        best, last = run.best(), run.last()
        is_last = best is None or (last is not None and read_updates(last) == updates)
        found = last if is_last else best
        if found is None:
            raise UserError(f"{self.title}: no whole checkpoint in {self.folder}; remove it to train it anew")
        return found

    def _claim(self, run: RunFolder) -> None:
        held_out = self._note().get("held_out")
        if held_out is None and run.has_checkpoint():
            raise UserError(f"{self.folder}: found a run that is no fold of a calibration; name another --folds-folder")
        if held_out is not None and held_out != list(self.held_out):
            raise UserError(
                f"{self.folder}: found a fold that held out other images (another split, seed or number of folds); "
                "name another --folds-folder"
            )
        self._write(finished=False)

    def _write(self, finished: bool) -> None:
        write_json(self.folder / NOTE, {"held_out": list(self.held_out), "finished": finished})

    def _note(self) -> dict[str, Any]:
        try:
            return read_json(self.folder / NOTE, dict, "is no JSON", "remove the folder to train the fold anew")
        except FileNotFoundError:
            return {}


def make_folds(
    images: Sequence[str], count: int, folder: Path, seed: int = 0, patients: Mapping[str, str] | None = None
) -> list[Fold]:
    """Divide images at random, keyed by ``seed``, into ``count`` parts, each held out by one fold.

    ``patients`` gives the patient of an image; a patient's images are held out together. Raises UserError unless there
    are at least two folds, and as many images and patients.
    """
    if not 2 <= count <= len(images):
        raise UserError(f"--folds: found {count}, expected 2 to {len(images)}, the number of training images")
    order = few_shot_order(images, 0, seed)
    groups = by_patient(order, patients or {})
    if count > len(groups):
        raise UserError(f"--folds: found {count}, expected 2 to {len(groups)}, the number of patients")
    parts: list[list[str]] = [[] for _ in range(count)]
    for group in groups:
        min(parts, key=len).extend(group)  # images alone are dealt in turn
    folds = []
    for number in range(count):
        held_out = set(parts[number])
        kept = tuple(image for image in images if image not in held_out)
        name = f"{number + 1}_of_{count}"
        folds.append(Fold(name, folder / name, kept, tuple(sorted(held_out))))
    return folds


def _run(command: list[str]) -> int:
    process = subprocess.Popen(command, env={**os.environ, PART_OF_A_WHOLE: "1"})
    with handling([signal.SIGTERM], _end):
        try:
            return process.wait()
        except BaseException:  # Ctrl-C reaches the training too, which saves a checkpoint; SIGTERM has to be passed on
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait()
            raise


def _end(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
