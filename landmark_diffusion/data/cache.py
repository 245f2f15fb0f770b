"""ImageCache: each radiograph is decoded and resized once, then read from a small lossless file."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_write_bytes
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.data.resize import resize_image
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import LandmarkDataset

FORMAT_VERSION = 2
"""Part of every key: raise it whenever the same file and settings would give other pixels."""

RESIZED, HEADERS = "resized", "headers"
"""The two folders inside the cache folder: resized images (PNG) and remembered headers (JSON)."""

BYTES_A_PIXEL = 0.75
"""Room that a kept image takes at most: 0.71 at 96x120 with its disk blocks, 0.53 at 384x480 (ISBI 2015, phantoms)."""
BLOCK = 4096
"""Bytes that the smallest file takes on most disks."""

Item = TypeVar("Item")

_OWN_FILE = re.compile(r"([0-9a-f]{64}\.(png|json)|\.tmp-\d+-[0-9a-f]{12}\.(png|json))")


def default_folder() -> Path:
    """Return the folder of $LDX_CACHE, else ~/.cache/landmark_diffusion."""
    return Path(os.environ.get("LDX_CACHE") or Path.home() / ".cache" / "landmark_diffusion").expanduser()


class ImageCache:
    """Resized radiographs on disk, one PNG for each image and frame.

    The key is a hash of the dataset's ``cache_key`` (path, size, time of change), the frame and the format's version,
    so a changed image or setting never meets an old file. Files are written beside and renamed: processes may fill the
    same folder at the same time. A damaged file is made anew.

    Args:
        folder: where the files lie; None is ``default_folder()``.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder).expanduser() if folder is not None else default_folder()

    def get(self, dataset: LandmarkDataset, sample: LandmarkSample, frame: Frame) -> np.ndarray:
        """Return one image at network size, (H, W) uint8, from the cache or freshly made.

        Raises DataError that names an image which is missing or cannot be decoded.
        """
        path = self.path(dataset, sample, frame)
        kept = _read(path, frame.network_size)
        return kept if kept is not None else self._make(dataset, sample, frame, path)

    def fill(
        self,
        dataset: LandmarkDataset,
        samples: Sequence[LandmarkSample],
        frames: Sequence[Frame],
        progress: bool = True,
    ) -> int:
        """Make what is not kept yet, with a progress bar on stderr, and return how many images were made.

        Raises DataError that names the first image which is missing or cannot be decoded.
        """
        pairs = zip(samples, frames, strict=True)
        wanted = [(sample, frame, self.path(dataset, sample, frame)) for sample, frame in pairs]
        missing = [item for item in wanted if not item[2].exists()]
        for sample, frame, path in _tracked(missing, progress and _is_first_process(), f"decoding {dataset.name}"):
            if not path.exists():  # another process may have made it since
                self._make(dataset, sample, frame, path)
        return len(missing)

    def check_room(self, dataset: LandmarkDataset, samples: Iterable[LandmarkSample], frames: Sequence[Frame]) -> None:
        """Raise UserError if the images that are not kept yet would fill the disk; looks at samples only in doubt."""
        free = _free_bytes(self.folder)
        if free is None or sum(map(room_for, frames)) <= free:
            return
        pairs = zip(samples, frames, strict=True)
        wanted = {self.path(dataset, sample, frame): room_for(frame) for sample, frame in pairs}
        missing = [room for path, room in wanted.items() if not path.exists()]
        needed = sum(missing)
        if needed > free:
            raise UserError(
                f"cache: keeping {len(missing)} more resized images of {dataset.name} takes up to {_size(needed)} in "
                f"{self.folder}, which has {_size(free)} free; make room with `ldx cache clear`, choose another folder "
                "by data.cache_folder or the variable LDX_CACHE, or make data.size smaller"
            )

    def path(self, dataset: LandmarkDataset, sample: LandmarkSample, frame: Frame) -> Path:
        """Return the file that one image at one frame has in the cache, whether or not it exists."""
        try:
            source = dataset.cache_key(sample)
        except OSError as error:
            raise DataError(f"the image cannot be read ({error.strerror})", sample.image_path) from None
        parts = (FORMAT_VERSION, source, frame.original_size, frame.content_size, frame.network_size)
        key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()
        return self.folder / RESIZED / key[:2] / f"{key}.png"

    def _make(self, dataset: LandmarkDataset, sample: LandmarkSample, frame: Frame, path: Path) -> np.ndarray:
        image = dataset.load_image(sample)
        found = (image.shape[1], image.shape[0])
        if found != frame.original_size:
            raise DataError(
                f"decoded to {found[0]}x{found[1]} px, its header said {frame.original_size[0]}x"
                f"{frame.original_size[1]}; it changed while it was in use: start again",
                sample.image_path or sample.image_id,
            )
        resized = resize_image(image, frame)
        encoded = cv2.imencode(".png", resized, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        try:
            atomic_write_bytes(path, encoded, flush=False)  # what a power cut leaves damaged is made anew
        except OSError as error:
            raise UserError(
                f"cache: cannot write to {self.folder} ({error.strerror}); make room with `ldx cache clear` or choose "
                "another folder by data.cache_folder or the variable LDX_CACHE"
            ) from None
        return resized


def room_for(frame: Frame) -> float:
    """Bytes that a kept image of this frame takes on the disk at most."""
    return max(BLOCK, BYTES_A_PIXEL * math.prod(frame.network_size))


def clear(folder: str | Path | None = None) -> tuple[int, int]:
    """Delete the cache's own files under ``folder`` (default: ``default_folder()``); return (files, bytes) deleted.

    Only names that the cache itself gives are touched, so a folder that holds anything else keeps it.
    """
    base = Path(folder).expanduser() if folder is not None else default_folder()
    count = size = 0
    for path in _own_files(base):
        with suppress(FileNotFoundError):  # another process cleared it, or finished writing it
            length = path.stat().st_size
            path.unlink()
            count, size = count + 1, size + length
    for empty in (*(base / RESIZED).glob("??"), base / RESIZED, base / HEADERS, base):
        with suppress(OSError):  # not empty, or not there
            empty.rmdir()
    return count, size


def _own_files(base: Path) -> list[Path]:
    places = [*(base / RESIZED).glob("[0-9a-f][0-9a-f]"), base / HEADERS]
    found = (path for place in places if place.is_dir() for path in place.iterdir())
    return [path for path in found if _OWN_FILE.fullmatch(path.name) and path.is_file()]


def _read(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    """Pixels of a kept file, (H, W) uint8; None if it is absent or damaged (each chunk's checksum is verified)."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as check:
            check.verify()
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image) if image.mode == "L" and image.size == size else None
    except (OSError, SyntaxError, ValueError, EOFError):
        return None


def _free_bytes(folder: Path) -> int | None:
    """Bytes free on the disk on which ``folder`` lies or would be made; None where that cannot be told."""
    there = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _size(count: float) -> str:
    """Say a number of bytes as people read it: 38.4 GB, 512.0 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _tracked(items: list[Item], progress: bool, label: str) -> Iterable[Item]:
    if not progress or not items:
        return items
    return _with_bar(items, label)


def _is_first_process() -> bool:
    """Whether this process shows the bar: Lightning numbers the processes of one machine by LOCAL_RANK."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _with_bar(items: list[Item], label: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, console=Console(stderr=True), transient=True)
