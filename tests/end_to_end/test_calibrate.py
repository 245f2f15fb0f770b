"""From training to regions: fit, export, calibrate by folds in processes of their own, detect, test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.data.sources.phantom import PhantomDataset
from landmark_diffusion.modelfile.model_file import read_facts
from tests.end_to_end.console import ldx, ldx_in, read_rows, run
from tests.end_to_end.test_position_diffusion import CONFIG

COUNT = (44, 20, 6)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported model that was trained for three updates, and calibrated by two folds."""
    home = tmp_path_factory.mktemp("calibrate")
    (home / "positions.yaml").write_text(CONFIG.replace("[4, 2, 3]", str(list(COUNT))))
    ldx_in(
        home,
        ("fit", "--config=positions.yaml", "--run_folder=runs/a"),
        ("export", "runs/a/checkpoints/last.ckpt", "a.ldx"),
    )
    outcome = run(("calibrate", "--config", "positions.yaml", "--checkpoint", "a.ldx", "--folds", "2"), home)
    assert outcome.status == 0, outcome.err
    assert "fold 2_of_2: ldx fit" in outcome.out and "wrote a.ldx and its card a.md" in outcome.out
    return home


@pytest.fixture(autouse=True)
def _at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_each_image_was_judged_by_a_model_that_had_not_seen_it() -> None:
    held_out = [json.loads(Path(f"runs/positions/folds/{n}_of_2/fold.json").read_text())["held_out"] for n in (1, 2)]
    assert len(held_out[0]) == len(held_out[1]) == 22 and not set(held_out[0]) & set(held_out[1])
    calibration = read_facts("a.ldx").calibration
    assert calibration is not None and calibration["images"] == 44


def test_detect_gives_regions_in_mm() -> None:
    dataset = PhantomDataset(count=COUNT)
    Image.fromarray(dataset.load_image(dataset.samples("test")[0])).save("p.png")
    outcome = ldx("detect", "p.png", "--model", "a.ldx", "--spacing", "0.5", "--output", "found")
    assert outcome.status == 0, outcome.err
    rows = read_rows(Path("found/points.csv"))
    assert {row["region_level"] for row in rows} == {"0.900000"}
    for row in rows:
        area = np.pi * float(row["region_semi_major"]) * float(row["region_semi_minor"]) * 0.25
        assert float(row["region_area_mm2"]) == pytest.approx(area, rel=1e-4)
    assert Path("found/overlays/p.png").is_file()


def test_test_reports_coverage_with_the_calibration_of_the_file() -> None:
    outcome = ldx("test", "a.ldx", "--pictures=1")
    assert outcome.status == 0, outcome.err
    spread = json.loads(Path("runs/a.ldx/test/metrics.json").read_text())["spread"]
    assert spread["calibrated"] and spread["level"] == 0.9 and 0 < spread["overall"]["coverage"] <= 1
    assert {row["level"] for row in read_rows(Path("runs/a.ldx/test/spread.csv"))} == {"0.9"}
    assert Path("runs/a.ldx/test/report/spread.png").is_file() and "regions of stated 90 %" in outcome.out


def test_a_held_out_part_does_as_well() -> None:
    outcome = ldx("calibrate", "--checkpoint", "a.ldx", "--part", "val", "--output", "b.ldx")
    assert outcome.status == 0, outcome.err
    calibration = read_facts("b.ldx").calibration
    assert calibration is not None and calibration["images"] == 20
    assert "20 images are too few to call one unlike them: that needs 99" in outcome.out
