"""The model in weights/: whole, of the shipped config, and as good as its card says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from landmark_diffusion import PositionDiffusionModule
from landmark_diffusion.core.groups import dotted
from landmark_diffusion.data.readers.image_io import list_images, read_grey
from landmark_diffusion.detection.detector import Detector
from landmark_diffusion.modelfile.model_file import read_facts, read_model_file
from tests.end_to_end.console import REPOSITORY, ldx

MODEL = REPOSITORY / "weights" / "ceph_small.ldx"
TOLERANCE = 0.005
"""Millimetres between machines (issue 5); between instruction sets on one machine 1e-7 was found."""


def test_it_is_small_enough_and_says_what_it_is() -> None:
    facts = read_facts(MODEL)
    assert MODEL.stat().st_size < 20e6
    assert facts.class_path == "PositionDiffusionModule" and len(facts.landmark_names) == 19
    assert facts.measured is not None and facts.measured["variants"]["multi-step"]["images"] == 150
    card = MODEL.with_suffix(".md").read_text()
    assert "Not a medical device" in card and "research use" in card
    assert "/work" not in json.dumps(facts.__dict__, default=str)


def test_it_has_the_options_of_the_shipped_config() -> None:
    """A default that moves would leave a model behind that its config no longer describes."""
    facts = read_facts(MODEL)
    config = yaml.safe_load((REPOSITORY / "configs" / "ceph_diffusion_small.yaml").read_text())
    given, kept = dotted(config["model"]["init_args"]), dotted(facts.model)
    assert {key: kept[key] for key in given} == given
    assert list(facts.data["size"]) == config["data"]["size"]


def test_its_weights_load_and_give_points_within_the_image() -> None:
    model = read_model_file(MODEL)
    module = PositionDiffusionModule(**model.facts.model).eval()
    module.load_state_dict(model.weights)
    width, height = model.facts.data["size"]
    found = module.find({"image": torch.rand(1, 1, height, width), "index": torch.zeros(1, dtype=torch.long)})
    points = found["multi-step"].points
    assert points.shape == (1, 19, 2) and (points >= 0).all()
    assert (points[..., 0] < width).all() and (points[..., 1] < height).all()


@pytest.mark.slow
def test_it_reaches_the_figures_on_its_card(
    shared_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shared_data("isbi2015")
    monkeypatch.chdir(tmp_path)
    outcome = ldx("test", str(MODEL), f"--data.root={root}", "--pictures=0")
    assert outcome.status == 0, outcome.err
    measured = read_facts(MODEL).measured
    assert measured is not None
    again = json.loads(Path("runs/ceph_small.ldx/test/metrics.json").read_text())["variants"]
    for variant, figures in measured["variants"].items():
        assert again[variant]["mre"] == pytest.approx(figures["mre"], abs=TOLERANCE)
        assert again[variant]["sdr"] == pytest.approx(figures["sdr"], abs=0.1)  # three points of 2,850


def test_its_regions_are_calibrated_for_what_detect_offers() -> None:
    calibration = read_facts(MODEL).calibration
    assert calibration is not None and calibration["images"] == 150 and "one of 5 models" in calibration["source"]
    known = {(each["settings"]["steps"], each["settings"]["samples"]) for each in calibration["settings"]}
    assert known >= {(1, 1), (2, 1), (8, 1), (8, 8)}
    for options in ({}, {"fast": True}, {"samples": 8}, {"samples": 8, "spread": "samples"}, {"steps": 1}):
        assert Detector.load(MODEL, **options).calibration is not None, options


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load(MODEL)


def test_noise_and_a_blank_image_come_out_as_unlike(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.standard_normal((600, 484)).astype(np.float32), (0, 0), 12)
    photo = cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # soft blobs, as of a photograph
    for picture in (photo, rng.integers(0, 256, (600, 484), dtype=np.uint8), np.zeros((600, 484), np.uint8)):
        found = detector(picture)
        assert found.unlike and found.image_score is not None and found.image_score <= 0.01
        assert any("unlike" in note for note in found.notes)


@pytest.mark.slow
def test_a_hand_a_turned_and_a_mirrored_head_come_out_as_unlike_and_heads_do_not(
    shared_data: Callable[[str], Path], detector: Detector
) -> None:
    """Images 151-170 serve as images, their annotations are not looked at."""
    heads = [read_grey(shared_data("isbi2015") / "cepha400" / f"{n}.jpg") for n in range(151, 171)]
    hands = [read_grey(path) for path in list_images(shared_data("hand"), recursive=True)]
    assert sum(bool(detector(head).unlike) for head in heads) <= 2  # 1 % are by definition
    assert hands and all(detector(hand).unlike for hand in hands)
    for head in heads[:5]:
        assert detector(np.ascontiguousarray(head[::-1, ::-1])).unlike and detector(head[:, ::-1].copy()).unlike
