"""CompactSamples: very many samples in a few arrays, which the loader's processes can share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from landmark_diffusion.data.sample import LandmarkSample


class CompactSamples(Sequence[LandmarkSample]):
    """A sequence of samples that makes each one anew when it is asked for.

    Python counts the references to an object in the object itself, so a process that only reads a list of objects
    writes to their memory, and each of the loader's processes would come to hold a copy of all of them. Arrays are read
    without that.

    Args:
        samples: of one dataset, with equal A and N.
    """

    def __init__(self, samples: Iterable[LandmarkSample]) -> None:
        samples = list(samples)
        unknown = (np.nan, np.nan)
        self._ids = _TextColumn(sample.image_id for sample in samples)
        self._paths = _TextColumn(str(sample.image_path or "") for sample in samples)
        self._sources = _TextColumn(sample.source for sample in samples)
        self._sizes = np.array([sample.size for sample in samples], np.int64).reshape(-1, 2)
        self._spacings = np.array([sample.spacing or unknown for sample in samples], np.float64).reshape(-1, 2)
        self._annotations = np.stack([each.annotations for each in samples]) if samples else np.empty((0, 1, 0, 2))

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, place: int) -> LandmarkSample: ...

    @overload
    def __getitem__(self, place: slice) -> list[LandmarkSample]: ...

    def __getitem__(self, place: int | slice) -> LandmarkSample | list[LandmarkSample]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]  # counts from the end where it is negative; raises IndexError
        width, height = self._sizes[place].tolist()
        across, down = self._spacings[place].tolist()
        path = self._paths[place]
        return LandmarkSample(
            image_id=self._ids[place],
            size=(width, height),
            annotations=self._annotations[place],
            spacing=None if np.isnan(across) else (across, down),
            image_path=Path(path) if path else None,
            source=self._sources[place],
        )


class _TextColumn:
    """Texts in one run of bytes."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]  # a file's name may be no valid UTF-8
        self._ends = np.cumsum([0, *map(len, encoded)])
        self._bytes = b"".join(encoded)

    def __getitem__(self, place: int) -> str:
        return self._bytes[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogatepass")
