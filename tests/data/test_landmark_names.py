"""Landmarks matched by name: the same point, whatever the order and the spelling; nothing guessed."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.landmark_names import have_names, match_landmarks, respelled, spelled
from landmark_diffusion.studies.calibrate.material import labelled_images
from landmark_diffusion.training.datamodule import LandmarkDataModule

ROWS = {"a": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "b": [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]}
"""Points of sella, nasion and menton in two images."""


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (("sella", "nasion", "A point"), (0, 1, 2)),
        (("A point", "sella", "nasion"), (1, 2, 0)),
        (("NASION", "a_point", " Sella "), (2, 0, 1)),
        (("a-point", "sella", "nasion."), (1, 2, 0)),
    ],
)
def test_each_landmark_is_found_by_its_name(found: tuple[str, ...], order: tuple[int, ...]) -> None:
    match = match_landmarks(("sella", "nasion", "A point"), found, "x.ldx")
    assert match.order == order
    assert bool(match.note) == (order != (0, 1, 2))


def test_both_forms_of_an_accent_are_one_name() -> None:
    composed, apart = "\u00e9pine", "e\u0301pine"
    assert composed != apart and spelled(composed) == spelled(apart)
    assert match_landmarks((composed, "b"), ("b", apart), "x").order == (1, 0)


def test_names_that_differ_in_spelling_alone_are_told_apart() -> None:
    assert match_landmarks(("A", "a"), ("a", "A"), "x").order == (1, 0)
    with pytest.raises(UserError):
        match_landmarks(("A", "a"), ("a", "b"), "x")


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (("1", "2"), False), (("landmark 1", "landmark 2"), False), (("x1", "x2"), False), (("point_07",), False),
        (("1", "sella"), True), (("L1", "L2"), True), (("T12", "C7"), True), (("A",), True), ((), False),
    ],
)  # fmt: skip
def test_numbers_are_no_names(names: tuple[str, ...], named: bool) -> None:
    """Vertebrae are called L1 and C7."""
    assert have_names(names) == named


@pytest.mark.parametrize(("wanted", "found"), [(("sella", "nasion"), ("1", "2")), (("1", "2"), ("sella", "nasion"))])
def test_without_names_on_one_side_the_position_decides_and_is_told(wanted, found) -> None:
    match = match_landmarks(wanted, found, "x.ldx")
    assert match.order == (0, 1) and "by position" in match.note


def test_numbers_are_matched_as_numbers() -> None:
    assert match_landmarks(("1", "2", "10"), ("10", "1", "2"), "x").order == (1, 2, 0)
    assert "no names" in match_landmarks(("1", "2"), ("1", "2"), "x").note


def test_other_names_are_refused_with_what_to_do() -> None:
    with pytest.raises(UserError) as told:
        match_landmarks(("sella", "nasion"), ("Sella", "n"), "x.ldx")
    assert "are not those of x.ldx: it has 'nasion', the data 'n' instead" in str(told.value)
    assert "--data.landmark_names" in str(told.value)
    with pytest.raises(UserError, match="has 2 landmarks, the data 3"):
        match_landmarks(("sella", "nasion"), ("sella", "nasion", "menton"), "x.ldx")


def test_a_spelling_is_made_ours() -> None:
    assert respelled(["Anterior_Nasal_Spine", "tragus"], ["anterior nasal spine"]) == ["anterior nasal spine", "tragus"]


def folder(root: Path, header: str, columns: tuple[int, ...] = (0, 1, 2)) -> dict:
    """Write two images and a table with the three points in the order of ``columns``."""
    lines = [f"image,split,{header}"]
    for name, points in ROWS.items():
        cv2.imwrite(str(root / f"{name}.png"), np.arange(400, dtype=np.uint8).reshape(20, 20))
        cells = [f"{value:g}" for place in columns for value in points[place]]
        lines.append(",".join([f"{name}.png", "train" if name == "a" else "test", *cells]))
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    return {"dataset": "folder", "root": str(root), "size": (16, 16), "cache_folder": str(root / "cache")}


TURNED = "Menton_x,Menton_y,Nasion_x,Nasion_y,SELLA_x,SELLA_y"
NUMBERS = "x1,y1,x2,y2,x3,y3"


@pytest.mark.parametrize(("header", "columns"), [(TURNED, (2, 1, 0)), (NUMBERS, (0, 1, 2))])
def test_data_come_in_the_models_order(tmp_path: Path, header: str, columns: tuple[int, ...]) -> None:
    """With another order of the columns each error would be measured against another landmark's truth."""
    data = LandmarkDataModule(**folder(tmp_path, header, columns))
    before = data.stage_dataset("test")
    note = data.arrange(("sella", "nasion", "menton"), "x.ldx")
    assert ("by position" if header == NUMBERS else "by name") in note
    assert data.landmark_names == ("sella", "nasion", "menton") and data.stage_dataset("test") is not before
    batch = data.stage_dataset("test")[0]
    assert batch["annotations"][0].tolist() == ROWS["b"]
    assert data.source.load_image(data.stage_dataset("test").samples[0]).shape == (20, 20)
    again = pickle.loads(pickle.dumps(data.source))
    assert again.samples("train")[0].mean_points.tolist() == ROWS["a"]
    assert not data.arrange((), "an old checkpoint")  # names nothing
    assert not LandmarkDataModule("phantom", labels=False).arrange(("sella",), "x.ldx")  # images alone


def test_a_calibration_measures_each_landmark_against_its_own_truth(tmp_path: Path) -> None:
    images = labelled_images(folder(tmp_path, TURNED, (2, 1, 0)), "test", landmarks=("sella", "nasion", "menton"))
    assert images.samples[0].mean_points.tolist() == ROWS["b"]
    with pytest.raises(UserError, match="not those of the model"):
        labelled_images(folder(tmp_path, TURNED), "test", landmarks=("sella", "nasion", "gonion"))


def test_points_without_names_can_be_given_some(tmp_path: Path) -> None:
    options = folder(tmp_path, NUMBERS)
    data = LandmarkDataModule(**options, landmark_names=["sella", "nasion", "menton"])
    assert data.landmark_names == ("sella", "nasion", "menton")
    assert data.source.samples("train")[0].mean_points.tolist() == ROWS["a"]
    renamed = LandmarkDataModule(**options, landmark_names={"2": "nasion"})
    assert renamed.landmark_names == ("1", "nasion", "3")


def test_names_in_the_table_are_put_in_the_order_asked_for(tmp_path: Path) -> None:
    data = LandmarkDataModule(**folder(tmp_path, TURNED, (2, 1, 0)), landmark_names=["sella", "nasion", "menton"])
    assert data.source.samples("train")[0].mean_points.tolist() == ROWS["a"]


@pytest.mark.parametrize(
    ("header", "names", "told"),
    [
        (NUMBERS, ["sella", "nasion"], "found 2 names, expected 3"),
        (NUMBERS, ["sella", "nasion", "Sella"], "expected 3 different names"),
        (TURNED, ["sella", "nasion", "gonion"], "names its landmarks already"),
        (TURNED, {"gonion": "go"}, "the data has no landmark 'gonion'"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path: Path, header: str, names, told: str) -> None:
    with pytest.raises(UserError, match=told):
        LandmarkDataModule(**folder(tmp_path, header), landmark_names=names)


def test_notes_and_patients_are_not_lost_with_the_names(tmp_path: Path) -> None:
    """Patients of a table whose landmarks were given names were torn apart by the few-shot draws."""
    for place, name in enumerate("ab"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((16, 20), 9 * place, np.uint8))
    (tmp_path / "points.csv").write_text("image,x1,y1,patient,age\na,1,2,P1,7\nb,3,4,P1,8\n")
    plain, named = (
        LandmarkDataModule("folder", str(tmp_path), landmark_names=names).source for names in (None, ["sella"])
    )
    assert named.landmark_names == ("sella",) and named.patients() == {"a": "P1", "b": "P1"}
    assert named.notes() == plain.notes() and any("not used: the column age" in note for note in named.notes())
