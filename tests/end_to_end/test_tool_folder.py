"""A folder that LabelMe marked is checked, trained on and tested as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.labels import ImageFolder, LabelledImage, LabelSet, Mark, label_format
from landmark_diffusion.data.sources.phantom import PhantomDataset
from tests.end_to_end.console import NETWORK, column, ldx, read_rows

COUNT = 8


def marked(root: Path) -> dict[str, np.ndarray]:
    """Phantoms in ``root`` with a LabelMe file beside each; gives their points."""
    phantom = PhantomDataset(count=(COUNT, 0, 0), image_size=(129, 160), seed=3)
    images, truth = [], {}
    for number, sample in enumerate(phantom.samples("train")):
        name = f"{number:02d}.png"
        Image.fromarray(phantom.load_image(sample)).save(root / name)
        truth[name] = sample.mean_points
        marks = {
            ("me", each): Mark(float(x), float(y))
            for each, (x, y) in zip(phantom.landmark_names, truth[name], strict=True)
        }
        images.append(LabelledImage(name, (129, 160), None, marks))
    labels = LabelSet(phantom.landmark_names, ("me",), tuple(images))
    label_format("labelme").write(labels, root, ImageFolder(root), overwrite=True)
    return truth


def test_a_folder_of_labelme_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("own")
    root.mkdir()
    truth = marked(root)
    outcome = ldx("data", "check", "--dataset=folder", "--root=own")
    assert outcome.status == 0, outcome.out
    assert "note: own: read as LabelMe" in outcome.out and "train 6, val 1, test 1" in outcome.out
    options = ("--data.root=own", "--run_folder=runs/own", "--data.batch_size=4", "--trainer.max_steps=2")
    outcome = ldx("fit", "--config", "folder_diffusion_small.yaml", *NETWORK, *options)
    assert outcome.status == 0, outcome.err
    assert ldx("test", "runs/own", "--pictures=0").status == 0
    rows = read_rows(Path("runs/own/test/predictions.csv"))
    expected = [truth[row["image_id"]][list(PhantomDataset(count=(1, 0, 0)).landmark_names).index(row["landmark"])]
                for row in rows]  # fmt: skip
    np.testing.assert_allclose(column(rows, "x_true", "y_true"), np.array(expected), atol=1e-5)
    (root / "00.json").write_text('{"shapes": [], "imagePath"')
    outcome = ldx("data", "check", "--dataset=folder", "--root=own")
    assert outcome.status == 1 and "own/00.json:1: the file is no whole JSON" in outcome.out + outcome.err
