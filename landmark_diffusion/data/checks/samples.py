"""What every dataset of files checks: its root, each image in full, and points that do not look like the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.checks.labels import check_labels
from landmark_diffusion.data.checks.outliers import Outlier, find_outliers, not_judged
from landmark_diffusion.data.checks.slips import ROWS
from landmark_diffusion.data.readers.image_io import check_contrast
from landmark_diffusion.data.sample import LandmarkSample
from landmark_diffusion.data.source import Finding, LandmarkDataset

Locate = Callable[[LandmarkSample, int, int], str]
"""(sample, annotator, landmark) -> "file:line" of that point."""


def root_folder(root: str | Path | None, dataset: str) -> Path:
    """Return the root as a Path; raise UserError where none is given, DataError where it is no folder."""
    if root is None or str(root) == "":
        raise UserError(f"data.root: {dataset} needs the folder with its images and annotations")
    path = Path(root).expanduser()
    if not path.exists():
        raise DataError(
            f"data.root: the folder does not exist (current folder: {Path.cwd()}); --data.root PATH names "
            "where it is now, over the config",
            path,
        )
    if not path.is_dir():
        raise DataError("data.root: found a file, expected the folder that holds images and annotations", path)
    return path


def check_samples(
    dataset: LandmarkDataset,
    samples: Sequence[LandmarkSample],
    faults: Sequence[DataError],
    decode: bool = True,
    locate: Locate | None = None,
) -> list[Finding]:
    """Turn faults into findings, and add images that cannot be decoded or are of one grey, labels in another unit or
    frame, outlying points, and a note of what could not be judged.

    ``locate`` tells where a point was read; without it a warning names the sample's ``source``.
    """
    findings = [Finding("error", str(fault)) for fault in faults]
    if decode:
        findings += [Finding("error", message) for message in _undecodable(dataset, samples)]
    where = locate if locate is not None else lambda sample, annotator, landmark: sample.source
    for (index, _), group in groupby(find_outliers(samples), key=lambda outlier: (outlier.sample, outlier.annotator)):
        findings.append(Finding("warning", _doubt(dataset, samples[index], list(group), where)))
    told = tuple(str(fault) for fault in faults)
    findings += [
        each for each in check_labels(samples, dataset.shown_names or dataset.landmark_names)
        if not any(fault.startswith(each.message) for fault in told)
    ]  # fmt: skip
    return findings + [Finding("note", f"{samples[0].source}: {each}") for each in not_judged(samples)]


def _undecodable(dataset: LandmarkDataset, samples: Sequence[LandmarkSample]) -> list[str]:
    messages = []
    for sample in _tracked(samples, f"decoding {dataset.name}"):
        try:
            check_contrast(dataset.load_image(sample), sample.image_path or sample.source)
        except DataError as error:
            messages.append(str(error))
    return messages


def _doubt(dataset: LandmarkDataset, sample: LandmarkSample, outliers: list[Outlier], where: Locate) -> str:
    """One sentence for the doubted points of one image and annotator: first those with a cause, the farthest first."""
    outliers = sorted(outliers, key=lambda outlier: (outlier.cause is None, -outlier.distance))
    first = outliers[0]
    names = dataset.shown_names or dataset.landmark_names
    points = ", ".join(f"{names[o.landmark]} ({_how_far(o, names)})" for o in outliers)
    by = f" by {dataset.annotator_names[first.annotator]}" if len(dataset.annotator_names) > 1 else ""
    what = "far from where the image's other points put them"
    if first.cause is not None:
        what += f" ({ROWS[first.cause.row]})" if first.cause.row is not None else ""
    elif all(each.kind == "position" for each in outliers):
        what = "far from the place that these points have in other images"
    else:
        what += " (exchanged, slipped, mirrored?)"
    word = "" if points.startswith("landmark ") else "landmark "
    return f"{where(sample, first.annotator, first.landmark)}: {sample.image_id}{by}: {what}: {word}{points}"


def _how_far(outlier: Outlier, names: Sequence[str]) -> str:
    """The distance, the usual one, and the likely cause of this point."""
    far = f"{outlier.distance:.0f} px; usual {outlier.usual:.0f}"
    if outlier.cause is None or outlier.cause.row is not None:
        return far
    partner = outlier.cause.partner
    return f"{far}; {outlier.cause.text if partner is None else f'exchanged with {names[partner]}?'}"


def _tracked(items: Sequence[LandmarkSample], label: str) -> Iterable[LandmarkSample]:
    from rich.console import Console
    from rich.progress import track

    return track(items, description=label, console=Console(stderr=True), transient=True)
