"""Folders of very many images: nothing is asked of the disk twice, and time grows as the number of images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from landmark_diffusion.data.checks import outliers
from landmark_diffusion.data.sources.folder import source as folder_module
from landmark_diffusion.data.sources.folder.source import FolderDataset
from landmark_diffusion.detection.inputs import find_images
from landmark_diffusion.detection.names import _free, short_names

PARTS = 4


def make_images(root: Path, count: int) -> Path:
    """Distinct small PNGs in sub-folders, and a wide table that names them with their folder."""
    rng, rows = np.random.default_rng(0), ["image,x1,y1,x2,y2,x3,y3"]
    for number in range(count):
        path = root / f"part_{number % PARTS}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", rng.integers(0, 255, (10, 8), dtype=np.uint8))[1].tobytes())
        rows.append(f"{path.relative_to(root).as_posix()}," + ",".join(map(str, rng.integers(0, 8, 6))))
    (root / "points.csv").write_text("\n".join(rows) + "\n")
    return root


def processor_seconds(action: Callable[[], object]) -> float:
    """Seconds of this process alone: other work on the machine does not count."""
    start = time.process_time()
    action()
    return time.process_time() - start


def test_a_table_and_its_headers_are_read_once_for_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    read = folder_module.read_headers
    monkeypatch.setattr(folder_module, "read_headers", lambda *args: calls.append(1) or read(*args))
    dataset = FolderDataset(make_images(tmp_path, 12))
    assert sum(len(dataset.samples(stage)) for stage in ("train", "val", "test")) == 12  # type: ignore[arg-type]
    assert dataset.radii and {finding.level for finding in dataset.check()} <= {"note"} and len(calls) == 1


def test_a_name_with_a_folder_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place and each suffix would be 15 questions to the disk for an image."""
    root, asked, isfile = make_images(tmp_path, 12), [], os.path.isfile
    dataset = FolderDataset(root)
    monkeypatch.setattr(os.path, "isfile", lambda path: asked.append(path) or isfile(path))
    assert len(dataset._read()[0]) == 12
    assert len([path for path in asked if "part_" in str(path)]) == 12


def test_images_that_are_all_called_the_same_get_names_in_time() -> None:
    """One image a patient, each called image.png in a folder series: comparing all with all would take an hour."""

    class Counted(dict[str, int]):
        asked = 0

        def __contains__(self, name: object) -> bool:
            self.asked += 1
            return super().__contains__(name)

    count, taken = 2000, Counted()
    names = [_free("series_image", taken) for _ in range(count)]
    assert len(set(names)) == count and names[:3] == ["series_image", "series_image_2", "series_image_3"]
    assert taken.asked < 4 * count  # two million where each number is tried from the first
    found = short_names([Path(f"patient_{number}/series/image.png") for number in range(count)])
    assert found == [f"patient_{number}_series_image" for number in range(count)]


def test_a_number_given_before_is_not_given_twice() -> None:
    names = short_names([Path(each) for each in ("a/x_2.png", "a/x.png", "b/a/x.png", "c/a/X.png", "d/a/x_2.png")])
    assert len({name.lower() for name in names}) == 5


def test_residuals_without_an_image_are_those_of_a_fit_without_it() -> None:
    """The closed form by leverage against fitting anew; the ridge and the means are kept as those of all images."""
    points = np.random.default_rng(0).normal(0, 5, (30, 4, 2))
    found = outliers.left_out_residuals(points)
    centred = points - points.mean(0)
    scale = np.median(np.linalg.norm(points, axis=-1))
    for landmark in range(4):
        features = np.delete(centred, landmark, 1).reshape(30, -1) / scale
        features = np.hstack([features, np.ones((30, 1))])
        penalty = 30 * outliers._RIDGE * np.diag([1.0] * (features.shape[1] - 1) + [0.0])
        for image in (0, 7, 29):
            rest = np.delete(np.arange(30), image)
            weights = np.linalg.solve(
                features[rest].T @ features[rest] + penalty, features[rest].T @ centred[rest, landmark]
            )
            expected = centred[image, landmark] - features[image] @ weights
            assert np.allclose(found[image, landmark], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_time_grows_as_the_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = make_images(tmp_path / "few", 1000), make_images(tmp_path / "many", 8000)
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))

    def start(root: Path) -> float:
        return processor_seconds(lambda: (FolderDataset(root).check(decode=False), find_images([str(root)], True)))

    start(few)  # what is imported at first use
    assert start(many) < 3 * 8 * start(few)  # 64 times where each image is compared with each
