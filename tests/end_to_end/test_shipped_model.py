"""The models in weights/: whole, of their configs, and as good as their cards say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from landmark_diffusion import PositionDiffusionModule
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.data.forms import BY_NAME
from landmark_diffusion.data.readers.image_io import list_images, read_grey
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.model_file import read_facts, read_model_file
from tests.end_to_end.console import REPOSITORY, ldx

WEIGHTS = REPOSITORY / "weights"
MODEL, OLDER = WEIGHTS / "ceph.ldx", WEIGHTS / "ceph_small.ldx"
CONFIGS = {MODEL: "ceph_devices_small.yaml", OLDER: "ceph_diffusion_small.yaml"}
FOLDS = {MODEL: "one of 4 models", OLDER: "one of 5 models"}
SETTINGS = {MODEL: {(1, 1), (2, 1), (8, 1)}, OLDER: {(1, 1), (2, 1), (8, 1), (8, 8)}}
TOLERANCE = 0.005
"""Millimetres between machines (issue 5); between instruction sets on one machine 1e-7 was found."""
both = pytest.mark.parametrize("model", CONFIGS, ids=lambda path: path.stem)


@both
def test_it_is_small_enough_and_says_what_it_is(model: Path) -> None:
    facts = read_facts(model)
    assert model.stat().st_size < 20e6
    assert facts.class_path == "PositionDiffusionModule" and len(facts.landmark_names) == 19
    assert facts.measured is not None and facts.measured["variants"]["multi-step"]["images"] == 150
    card = model.with_suffix(".md").read_text()
    assert "Not a medical device" in card and "research use" in card
    assert "/work" not in json.dumps(facts.__dict__, default=str)


@both
def test_it_has_the_options_of_the_shipped_config(model: Path) -> None:
    """A default that moves would leave a model behind that its config no longer describes."""
    facts = read_facts(model)
    config = yaml.safe_load((REPOSITORY / "configs" / CONFIGS[model]).read_text())
    given, kept = dotted(config["model"]["init_args"]), dotted(facts.model)
    assert {key: kept[key] for key in given} == given
    assert list(facts.data["size"]) == config["data"]["size"]


@both
def test_its_weights_load_and_give_points_within_the_image(model: Path) -> None:
    content = read_model_file(model)
    module = PositionDiffusionModule(**content.facts.model).eval()
    module.load_state_dict(content.weights)
    width, height = content.facts.data["size"]
    found = module.find({"image": torch.rand(1, 1, height, width), "index": torch.zeros(1, dtype=torch.long)})
    points = found["multi-step"].points
    assert points.shape == (1, 19, 2) and torch.isfinite(points).all()
    outside = found["multi-step"].outside
    within = torch.ones(1, 19, dtype=torch.bool) if outside is None else outside <= 0.5
    assert (points[within] >= 0).all()
    assert (points[within][:, 0] < width).all() and (points[within][:, 1] < height).all()


@both
@pytest.mark.slow
def test_it_reaches_the_figures_on_its_card(
    model: Path, shared_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shared_data("isbi2015")
    monkeypatch.chdir(tmp_path)
    outcome = ldx("test", str(model), f"--data.root={root}", "--pictures=0")
    assert outcome.status == 0, outcome.err
    measured = read_facts(model).measured
    assert measured is not None
    again = json.loads(Path(f"runs/{model.name}/test/metrics.json").read_text())["variants"]
    for variant, figures in measured["variants"].items():
        assert again[variant]["mre"] == pytest.approx(figures["mre"], abs=TOLERANCE)
        assert again[variant]["sdr"] == pytest.approx(figures["sdr"], abs=0.1)  # three points of 2,850


@both
def test_its_regions_are_calibrated_for_what_detect_offers(model: Path) -> None:
    calibration = read_facts(model).calibration
    assert calibration is not None and calibration["images"] == 150 and FOLDS[model] in calibration["source"]
    known = {(each["settings"]["steps"], each["settings"]["samples"]) for each in calibration["settings"]}
    assert known >= SETTINGS[model]
    offered: list[dict[str, Any]] = [{}, {"fast": True}, {"steps": 1}]
    if (8, 8) in known:
        offered += [{"samples": 8}, {"samples": 8, "spread": "samples"}]
    for options in offered:
        assert Detector.load(model, **options).calibration is not None, options


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector.load(request.param)


def test_noise_and_a_blank_image_come_out_as_unlike(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.standard_normal((600, 484)).astype(np.float32), (0, 0), 12)
    photo = cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # soft blobs, as of a photograph
    for picture in (photo, rng.integers(0, 256, (600, 484), dtype=np.uint8), np.zeros((600, 484), np.uint8)):
        found = detector(picture)
        assert found.unlike and found.image_score is not None and found.image_score <= 0.01
        assert any("unlike" in note for note in found.notes)


@pytest.mark.slow
def test_a_hand_comes_out_as_unlike_and_heads_do_not(shared_data: Callable[[str], Path], detector: Detector) -> None:
    """Images 151-170 serve as images, their annotations are not looked at."""
    heads = [read_grey(shared_data("isbi2015") / "cepha400" / f"{n}.jpg") for n in range(151, 171)]
    hands = [read_grey(path) for path in list_images(shared_data("hand"), recursive=True)]
    assert sum(bool(detector(head).unlike) for head in heads) <= 2  # 1 % are by definition
    assert hands and all(detector(hand).unlike for hand in hands)


@pytest.mark.slow
def test_a_turned_and_a_mirrored_head_come_out_as_unlike_or_are_put_right(shared_data: Callable[[str], Path]) -> None:
    older, newer = Detector.load(OLDER), Detector.load(MODEL)
    for number in range(151, 156):
        head = read_grey(shared_data("isbi2015") / "cepha400" / f"{number}.jpg")
        upright = newer(head)
        for form in (BY_NAME["upside down"], BY_NAME["mirrored"], BY_NAME["turned left, negative"]):
            other = form.apply(head)
            assert older(other).unlike
            found = newer(other)
            assert found.orientation == form.name and not found.unlike
            assert np.abs(found.points - form.apply_points(upright.points, other.shape[::-1])).max() < 1.0
