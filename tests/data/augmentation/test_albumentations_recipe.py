"""The recipe "albumentations": points follow the image, keyed draws, refusals in words, pipelines of its names."""

from __future__ import annotations

import builtins
import os
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.registry import ALLOW_VARIABLE
from landmark_diffusion.data.augmentation import albumentations_pipeline, get_recipe
from landmark_diffusion.data.augmentation.albumentations_check import draw_markers, try_transforms
from landmark_diffusion.training.datamodule import LandmarkDataModule
from tests.data.augmentation.test_markers import WINDOW, find_marker
from tests.data.augmentation.test_markers import draw_markers as draw_spots

A = pytest.importorskip("albumentations", reason="an extra")
Targets = pytest.importorskip("albumentations.core.type_definitions").Targets
SIZE = W, H = 192, 240
ROOT = Path(__file__).resolve().parents[3]
EXACT: dict[str, Any] = {
    "flip x": "HorizontalFlip",
    "flip y": "VerticalFlip",
    "rotate": {"Rotate": {"limit": [-20, 20]}},
    "safe rotate": {"SafeRotate": {"limit": [-20, 20]}},
    "affine": {"Affine": {"rotate": [-8, 8], "scale": [0.9, 1.1], "shear": [-8, 8], "translate_percent": [-0.05, 0.1]}},
    "shift scale rotate": {"ShiftScaleRotate": {"rotate_limit": 10}},
    "dropout": {"CoarseDropout": {"fill": 0}},
    "shuffled noise": "GaussNoise",
}  # fmt: skip
"""Alone, at p 1, these keep every point on its marker to 0.05 px; what crops, scales and warps do is in TABLE."""


def recipe(*transforms: Any) -> Any:
    return read(list(transforms))


def read(pipeline: Any) -> Any:
    """The recipe, with its pipeline read."""
    made = get_recipe("albumentations", pipeline=pipeline)
    assert made.compose is not None  # type: ignore[attr-defined]
    return made


def certain(spec: Any) -> Any:
    """The transform with p 1."""
    ((name, options),) = spec.items() if isinstance(spec, dict) else ((spec, {}),)
    return {name: {**options, "p": 1.0}}


def marker_errors(made: Any, draws: int = 4) -> np.ndarray:
    """Returned minus found place (M, 2) of markers at pixel centres and between them, that stay well inside."""
    errors = []
    for draw in range(draws):
        xs, ys = np.meshgrid(np.arange(24, W - 20, 36), np.arange(24, H - 20, 36))
        points = np.stack((xs, ys), -1).reshape(-1, 2) + (0.0 if draw % 2 else np.array([0.3, 0.6]))
        image, moved = made(draw_spots(points, SIZE), points, np.random.default_rng(draw))
        inside = ((moved > WINDOW + 3) & (moved < np.array(SIZE) - WINDOW - 4)).all(1)
        errors += [point - find_marker(image, point) for point in moved[inside]]
    found = np.array(errors)
    return found[np.isfinite(found).all(1)]


# ---- points follow the image --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in EXACT if name not in ("dropout", "shuffled noise")])
def test_points_are_where_the_image_shows_them(name: str) -> None:
    errors = marker_errors(recipe(certain(EXACT[name])))
    assert len(errors) > 40
    assert np.linalg.norm(errors, axis=1).max() < 0.05  # 8-bit spots and one bilinear resampling
    assert np.abs(errors.mean(0)).max() < 0.01  # no half pixel


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        ({"Perspective": {"scale": [0.03, 0.06]}}, 0.2),  # a spot under it is no Gaussian any more
        ({"RandomResizedCrop": {"size": [H, W], "scale": [0.7, 1.0]}}, 0.6),
        ({"RandomSizedCrop": {"min_max_height": [200, 235], "size": [H, W]}}, 0.6),
    ],
)
def test_points_of_crops_and_perspective_stay_within_what_the_reference_says(spec: Any, limit: float) -> None:
    errors = marker_errors(recipe(certain(spec)))
    assert len(errors) > 20 and np.linalg.norm(errors, axis=1).max() < limit


def test_flips_map_pixel_centres_to_pixel_centres() -> None:
    image = np.random.default_rng(0).integers(0, 256, (H, W), dtype=np.uint8)
    points = np.array([[0.0, 0.0], [W - 1.0, H - 1.0], [10.25, 20.5]])
    changed, moved = recipe(certain("HorizontalFlip"))(image, points, np.random.default_rng(0))
    assert np.array_equal(changed, image[:, ::-1])
    assert np.array_equal(moved, np.stack((W - 1 - points[:, 0], points[:, 1]), 1))


def test_a_dropout_s_holes_take_no_point_away() -> None:
    made = recipe({"CoarseDropout": {"num_holes_range": [8, 8], "hole_height_range": [0.4, 0.5], "p": 1.0}})
    image, points = draw_markers(SIZE)
    changed, moved = made(image, points, np.random.default_rng(0))
    assert not np.array_equal(changed, image)
    np.testing.assert_allclose(moved, points, atol=1e-4)


def test_missing_marks_stay_missing_in_their_place() -> None:
    points = np.array([[10.0, 20.0], [np.nan, np.nan], [30.5, np.nan], [50.0, 60.0]])
    _, moved = recipe(certain("HorizontalFlip"))(np.zeros((H, W), np.uint8), points, np.random.default_rng(0))
    assert np.isnan(moved[1:3]).all()
    assert moved[[0, 3]].tolist() == [[W - 11.0, 20.0], [W - 51.0, 60.0]]


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.full((3, 2), np.nan)])
def test_images_without_a_mark_are_augmented_too(points: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (H, W), dtype=np.uint8)
    changed, moved = recipe(certain("HorizontalFlip"))(image, points, np.random.default_rng(0))
    assert np.array_equal(changed, image[:, ::-1])
    assert moved.shape == points.shape and np.isnan(moved).all()


def test_points_that_leave_the_frame_are_neither_lost_nor_clipped() -> None:
    made = recipe({"Affine": {"translate_px": {"x": 50, "y": 0}, "p": 1.0}})
    points = np.array([[W - 10.0, 5.0], [-40.0, 7.0]])
    _, moved = made(np.zeros((H, W), np.uint8), points, np.random.default_rng(0))
    np.testing.assert_allclose(moved, points + np.array([50, 0]), atol=1e-3)


def test_the_image_given_is_left_as_it_is() -> None:
    image = np.full((H, W), 90, np.uint8)
    recipe(certain("GaussNoise"), certain("CoarseDropout"))(image, np.zeros((1, 2)), np.random.default_rng(0))
    assert (image == 90).all()


# ---- draws --------------------------------------------------------------------------------------------------------

DRAWN = ({"Affine": {"rotate": [-9, 9], "scale": [0.9, 1.1], "p": 0.9}}, {"OneOf": {"transforms": ["GaussNoise", "GaussianBlur"]}})  # fmt: skip  # noqa: E501


def test_a_draw_depends_on_the_given_numbers_alone() -> None:
    image, points = draw_markers(SIZE)
    made, other = recipe(*DRAWN), pickle.loads(pickle.dumps(recipe(*DRAWN)))
    wanted = [made(image, points, np.random.default_rng(seed)) for seed in range(3)]
    for seed in (2, 0, 1):  # another order, after other draws, in what a worker unpickles
        again = other(image, points, np.random.default_rng(seed))
        assert all(np.array_equal(a, b) for a, b in zip(again, wanted[seed], strict=True))
    assert not np.array_equal(wanted[0][1], wanted[1][1])


def test_two_transforms_of_a_pipeline_draw_each_for_itself() -> None:
    """The library's own seed gives each transform the same stream: two shifts would always be equal, their sum even."""
    shift = {"Affine": {"translate_px": {"x": [-10, 10]}, "p": 1.0}}
    made, image, points = recipe(shift, shift), np.zeros((H, W), np.uint8), np.zeros((1, 2))
    shifts = [made(image, points, np.random.default_rng(seed))[1][0, 0] for seed in range(20)]
    assert any(round(each) % 2 for each in shifts)


def test_a_test_of_a_run_needs_neither_the_file_nor_the_library() -> None:
    data = phantoms("of_another_folder.yaml")
    data.setup("test")
    assert len(list(data.test_dataloader())) == 1
    with pytest.raises(UserError, match=r"of_another_folder\.yaml: no file there"):
        data.setup("fit")
        data.train_dataloader()


def phantoms(pipeline: Any) -> LandmarkDataModule:
    return LandmarkDataModule(
        "phantom",
        size=(48, 64),
        recipe="albumentations",
        recipe_options={"pipeline": pipeline},
        dataset_options={"count": [4, 1, 1], "image_size": [96, 128]},
        seed=5,
    )


def examples(workers: int, epoch: int) -> list[dict[str, Any]]:
    data = phantoms(list(DRAWN))
    data.setup("fit")
    dataset = data.train_dataloader().dataset
    keys = [(epoch, place) for place in range(4)]
    return list(DataLoader(dataset, batch_size=None, sampler=keys, num_workers=workers))  # type: ignore[arg-type]


def test_an_image_is_augmented_alike_on_any_number_of_workers_and_after_a_resume() -> None:
    wanted = examples(0, 3)
    for here, there in zip(examples(2, 3), wanted, strict=True):
        assert torch.equal(here["image"], there["image"]) and torch.equal(here["points"], there["points"])
    assert not torch.equal(examples(0, 4)[0]["points"], wanted[0]["points"])


# ---- tried before training ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
def test_what_is_exact_passes_without_a_word(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try_transforms(recipe(EXACT[name]), SIZE)


def test_a_warp_whose_points_do_not_follow_is_named_with_its_error() -> None:
    warp = {"ElasticTransform": {"alpha": 100, "sigma": 10, "keypoint_remapping_method": "direct", "p": 0.1}}
    with pytest.warns(UserWarning, match=r"ElasticTransform moves points other than the image: they were 0\.\d px off"):
        try_transforms(recipe("GaussNoise", warp), (96, 120))


@pytest.mark.parametrize("name", ["Downscale", "Morphological"])
def test_values_that_move_the_image_under_its_points_are_named(name: str) -> None:
    with pytest.warns(UserWarning, match=rf"{name} moves points other than the image"):
        try_transforms(recipe(name), SIZE)


def test_what_mirrors_is_said(capsys: pytest.CaptureFixture[str], aloud: None) -> None:
    try_transforms(recipe({"OneOf": {"transforms": ["HorizontalFlip", "GaussNoise"]}}), SIZE)
    said = capsys.readouterr().out
    assert "HorizontalFlip may mirror images" in said and "left side" in said
    try_transforms(recipe("GaussNoise", {"Rotate": {"limit": 5}}), SIZE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"Affine": {"rotate": [5, 9], "border_mode": cv2.BORDER_REFLECT_101, "p": 0.01}}, "Affine doubles"),
        ({"ElasticTransform": {"alpha": 100, "sigma": 10, "p": 0.01}}, r"ElasticTransform loses \d+ of \d+ points"),
        ({"OneOf": {"transforms": ["NoOp", {"GridDistortion": {}}], "p": 0.01}}, r"GridDistortion loses \d+ of"),
        ({"Normalize": {"p": 1.0}}, r"gives float32 of shape \(240, 192\), expected uint8"),
        ({"Transpose": {"p": 1.0}}, r"of shape \(192, 240\), expected uint8 .*\(240, 192\)"),
        ({"RandomScale": {"scale_limit": [0.2, 0.3], "p": 1.0}}, "Resize: {height: 240, width: 192}"),
        ({"RandomCrop": {"height": 500, "width": 500, "p": 1.0}}, "fails on a grey image of 192x240 px"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_before_training(spec: Any, expected: str) -> None:
    with pytest.raises(UserError, match=rf"data\.recipe_options\.pipeline: .*{expected}"):
        try_transforms(recipe(spec), SIZE)


def test_points_that_get_lost_in_training_are_refused_there_too() -> None:
    made = recipe({"ElasticTransform": {"alpha": 100, "sigma": 10, "p": 1.0}})
    with pytest.raises(UserError, match=r"the pipeline loses 1 of 2 points"):
        made(np.zeros((H, W), np.uint8), np.array([[50.0, 60.0], [-30.0, 5.0]]), np.random.default_rng(0))


class Reverses(A.DualTransform):
    """Gives points back in another order."""

    _targets = (Targets.IMAGE, Targets.KEYPOINTS)

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return img

    def apply_to_keypoints(self, keypoints: np.ndarray, **params: Any) -> np.ndarray:
        return keypoints[::-1].copy()


def test_another_order_is_refused() -> None:
    with pytest.raises(UserError, match="Reverses changes the order of the points"):
        try_transforms(read(Reverses(p=0.5)), SIZE)


# ---- pipelines ----------------------------------------------------------------------------------------------------

PIPELINE = """
- Affine: {rotate: [-5, 5], p: 1.0}
- OneOf:
    transforms: [GaussNoise, {GaussianBlur: {sigma_limit: [0.5, 2.0]}}]
    p: 0.5
"""


def same(one: Any, other: Any) -> bool:
    image, points = draw_markers(SIZE)
    pairs = [(made(image, points, np.random.default_rng(seed)) for made in (one, other)) for seed in range(4)]
    return all(np.array_equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def objects() -> Any:
    noise = A.OneOf([A.GaussNoise(), A.GaussianBlur(sigma_limit=(0.5, 2.0))], p=0.5)
    return A.Compose([A.Affine(rotate=(-5, 5), p=1.0), noise], keypoint_params=A.KeypointParams("yx"))


def test_a_file_a_list_and_objects_are_one_pipeline(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(PIPELINE)
    made = read(str(tmp_path / "mine.yaml"))
    assert same(made, recipe(*objects().transforms))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_the_library_saves_is_read(tmp_path: Path, form: Any) -> None:
    path = tmp_path / f"saved.{form}"
    A.save(objects(), path, data_format=form)
    made = read(str(path))
    assert same(made, read(objects()))


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (["Rotat"], "unknown transform 'Rotat'. Did you mean Rotate"),
        ([{"Rotate": {"limt": 5}}], "Rotate has no option limt"),
        ([{"Rotate": {"limit": "far"}}], "Rotate: limit: Input should be"),
        ([{"Rotate": 5}], r"found {'Rotate': 5}, expected a transform"),
        ([], "found no transform"),
        ([3], "found 3, expected a transform"),
        ("absent.yaml", r"absent\.yaml: no file there"),
        ([{"os.system": {"command": "true"}}], r"os\.system is no Serializable"),
        ([{"subprocess.Popen": {"args": "true"}}], r"subprocess\.Popen is no Serializable"),
        ("stranger_lab.Pipeline", r"stranger_lab\.Pipeline: refused.*add --allow_classes stranger_lab"),
        ([{"__class_fullname__": "stranger_lab.Noise", "p": 1}], r"stranger_lab\.Noise: refused"),
        (["KeypointParams"], "unknown transform"),
    ],
)
def test_what_is_no_pipeline_is_refused_in_words(pipeline: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read(pipeline)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- !!python/object/apply:os.system ['true']", r"mine\.yaml: no yaml: .*could not determine a constructor"),
        ("- {Rotate: {limit: https://x}}", r"mine\.yaml:1: found 'https://x': a config names local files"),
        ("- [unclosed", r"mine\.yaml: no yaml"),
        ("", r"mine\.yaml: found None, expected a transform"),
        ("- Rotat", r"mine\.yaml: unknown transform 'Rotat'"),
    ],
)
def test_files_of_strangers_are_read_safely(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        read(str(tmp_path / "mine.yaml"))


def test_a_pipeline_of_one_s_own_package_takes_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab_augment.py").write_text(
        "import albumentations as A\n"
        "class Pipeline(A.Compose):\n"
        "    def __init__(self):\n"
        "        super().__init__([A.HorizontalFlip(p=1.0)])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="--allow_classes lab_augment"):
        read("lab_augment.Pipeline")
    monkeypatch.setenv(ALLOW_VARIABLE, "lab_augment")
    made = read("lab_augment.Pipeline")
    assert same(made, recipe(certain("HorizontalFlip")))


@pytest.mark.parametrize(("options", "expected"), [({}, "pipeline: FILE.yaml"), ({"elastic": False}, "'elastic'")])
def test_the_one_option_is_asked_for(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=f"recipe albumentations: .*{expected}"):
        get_recipe("albumentations", **options)


def test_message_says_how_to_install_it_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "albumentations":
            raise ImportError("No module named 'albumentations'")
        return real(name, *rest, **named)

    albumentations_pipeline.load_albumentations.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"pip install 'landmark_diffusion\[albumentations\]'") as caught:
        recipe("HorizontalFlip")
    assert "\n" not in str(caught.value)


def test_the_library_asks_the_network_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)
    albumentations_pipeline.load_albumentations.cache_clear()
    recipe("HorizontalFlip")
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_the_how_to_s_pipeline_works(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how_to.md").read_text(encoding="utf-8")
    section = page.partition("## Augment with albumentations")[2].partition("\n## ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "my_pipeline.yaml").write_text(text)
    made = read(str(tmp_path / "my_pipeline.yaml"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try_transforms(made, SIZE)
    assert np.linalg.norm(marker_errors(made), axis=1).mean() < 0.1
