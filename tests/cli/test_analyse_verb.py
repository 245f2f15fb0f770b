"""``ldx analyse``: what it writes for points, images and annotations, and how it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.cli.analyse_verb import run_analyse
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.data.forms import BY_NAME, FORMS, Form
from landmark_diffusion.data.sources.isbi2015 import LANDMARK_NAMES
from landmark_diffusion.detection.detection import Detection
from landmark_diffusion.detection.writers.points_json import PointsJsonWriter
from tests.studies.cephalometry.faces import in_image, make_face

SIZE = (1935, 2400)
COVARIANCE = np.broadcast_to(np.eye(2) * 25.0, (len(LANDMARK_NAMES), 2, 2)).copy()


def detection(name: str = "face", **changed: Any) -> Detection:
    plain = Detection(
        name, f"{name}.png", SIZE, LANDMARK_NAMES, in_image(make_face()), covariance=COVARIANCE, level=0.9,
        spacing=(0.1, 0.1), spacing_source="option", model="m.ldx",
    )  # fmt: skip
    return replace(plain, **changed)


def points_json(folder: Path, *detections: Detection) -> str:
    writer = PointsJsonWriter(folder / "found")
    for each in detections:
        writer.add(each)
    return str(writer.close()[0])


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_points_become_a_table_a_document_and_a_tracing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    image = tmp_path / "face.png"
    ground = np.full(SIZE[::-1], 90, np.uint8)
    ground[-SIZE[1] // 20 :] = 200  # a picture of one grey would be refused
    Image.fromarray(ground).save(image)
    assert run_analyse([points_json(tmp_path, detection(path=str(image))), "--output", str(out)]) == 0
    rows = table(out / "measures.csv")
    assert [row["measure"] for row in rows] == ["ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FHA", "MW"]
    snb = rows[1]
    assert (snb["image"], snb["value"], snb["unit"], snb["class"]) == ("face", "79.0000", "deg", "3")
    assert snb["class_name"] == "prognathic mandible" and snb["uncertain"] == "true"
    assert float(snb["low"]) < 79 < float(snb["high"])
    document = json.loads((out / "measures.json").read_text())
    assert document["images"][0]["facing"] == "right"
    assert sum(document["images"][0]["measures"][1]["probabilities"].values()) == pytest.approx(1.0)
    assert np.asarray(Image.open(out / "tracings" / "face.png").convert("L"))[60, 60] == pytest.approx(70, abs=3)
    said = capsys.readouterr()
    assert "90 % interval" in said.out and said.err == ""


def test_an_image_that_is_gone_is_traced_on_a_plain_ground_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_analyse([points_json(tmp_path, detection()), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "tracings" / "face.png").is_file()
    assert "plain ground" in capsys.readouterr().err


def test_one_unclear_image_is_told_and_the_others_are_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upside_down = detection("wrong", points=np.array(SIZE) - in_image(make_face()))
    points = points_json(tmp_path, upside_down, detection("right"))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 1
    assert {row["image"] for row in table(tmp_path / "out" / "measures.csv")} == {"right"}
    assert not (tmp_path / "out" / "tracings").exists()
    assert "wrong: the face stands on its head" in capsys.readouterr().err


def test_spacing_given_on_the_command_line_gives_modified_wits_its_class(tmp_path: Path) -> None:
    points, out = points_json(tmp_path, detection(spacing=None, spacing_source="unknown")), str(tmp_path / "out")
    options = [points, "--output", out, "--no-tracings"]
    assert run_analyse(options) == 0
    before = table(tmp_path / "out" / "measures.csv")[-1]
    assert (before["unit"], before["class"], before["value"]) == ("px", "", "30.0000")
    assert "spacing" in before["note"]
    assert run_analyse([*options, "--spacing", "0.1", "--overwrite"]) == 0
    after = table(tmp_path / "out" / "measures.csv")[-1]
    assert (after["unit"], after["class"], after["value"]) == ("mm", "1", "3.0000")


def test_nothing_is_overwritten_unless_it_is_asked_for(tmp_path: Path) -> None:
    points, out = points_json(tmp_path, detection()), tmp_path / "out"
    options = [points, "--output", str(out)]
    (out / "tracings").mkdir(parents=True)
    (out / "tracings" / "face.png").write_text("mine")
    with pytest.raises(UserError, match=r"face\.png"):
        run_analyse(options)
    assert not (out / "measures.csv").exists()
    assert run_analyse([*options, "--overwrite"]) == 0
    assert (out / "tracings" / "face.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can name a file"):
        run_analyse([points_json(tmp_path, detection("../../evil")), "--output", str(tmp_path / "out")])


def test_radiographs_are_detected_first_and_one_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class FakeDetector:
        def detect(self, radiographs: Any, paths: Any, names: list[str], spacing: Any) -> list[Detection]:
            return [detection(name, spacing=spacing, path=path) for name, path in zip(names, paths, strict=True)]

    monkeypatch.setattr("landmark_diffusion.cli.analyse_verb.load_detector", lambda options: FakeDetector())
    images = [tmp_path / each for each in ("a/face.png", "b/face.png", "bad.png")]
    for image in images[:2]:
        image.parent.mkdir()
        Image.fromarray(np.add.outer(np.arange(10), np.arange(8)).astype(np.uint8)).save(image)
    images[2].write_text("text")
    options = ["--model", "m.ldx", "--output", str(tmp_path / "out"), "--spacing", "0.1,0.2", "--no-tracings"]
    assert run_analyse([*map(str, images), *options]) == 1
    names = list(dict.fromkeys(row["image"] for row in table(tmp_path / "out" / "measures.csv")))
    assert names == ["a_face", "b_face"]  # two files of one name do not fall upon each other
    assert json.loads((tmp_path / "out" / "measures.json").read_text())["images"][0]["spacing"] == [0.1, 0.2]
    said = capsys.readouterr().err
    assert "bad.png" in said and "1 of 3 images have no measures" in said


def test_points_that_should_not_be_used_are_marked_in_every_row(tmp_path: Path) -> None:
    points = points_json(tmp_path, detection(unlike=True, image_score=0.001))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    rows = table(tmp_path / "out" / "measures.csv")
    assert all("do not use" in row["note"] for row in rows)
    assert {row[key] for row in rows for key in ("class", "class_name", "probability", "sd", "low", "high")} == {""}
    assert rows[1]["value"] == "79.0000"  # what the points as they are give


def chosen(*names: str) -> np.ndarray:
    return np.isin(LANDMARK_NAMES, names)


def test_measures_of_doubtful_points_are_marked_and_of_absent_landmarks_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doubted = detection(
        "a", doubtful=chosen("supramentale", "gonion"), outside=np.where(chosen("porion", "gonion"), 0.9, 0.1)
    )
    out = tmp_path / "out"
    assert run_analyse([points_json(tmp_path, doubted, detection("b")), "--output", str(out)]) == 0
    rows = {(row["image"], row["measure"]): row for row in table(out / "measures.csv")}
    notes = {measure: row["note"] for (image, measure), row in rows.items() if image == "a"}
    assert notes["ODI"] == "needs porion, gonion: not in the image"
    assert notes["APDI"] == "needs porion: not in the image"
    assert notes["FHI"] == notes["FHA"] == "needs gonion: not in the image"
    assert notes["SNB"] == "rests on a doubtful point: supramentale" and "supramentale" in notes["ANB"]
    assert notes["SNA"] == notes["MW"] == ""
    for measure in ("ODI", "APDI", "FHI", "FHA"):
        assert {rows["a", measure][key] for key in ("value", "class", "low", "probability")} == {""}
    for measure in ("ANB", "SNB", "SNA", "MW"):
        assert {**rows["a", measure], "note": ""} == {**rows["b", measure], "image": "a", "path": "a.png", "note": ""}
    document = json.loads((out / "measures.json").read_text())["images"][0]["measures"]
    assert [each["doubtful"] for each in document[:3]] == [["supramentale"], ["supramentale"], []]
    said = capsys.readouterr()
    assert "1 of 2 images has measures that rest on doubtful points, look at these: a (supramentale)" in said.err
    assert said.out.count("(on doubtful points)") == 2


def test_images_that_are_unlike_are_listed_apart_and_count_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when "open bite tendency, 100 %" was said of a hand."""
    upside_down = np.array(SIZE) - in_image(make_face())
    odd = [
        detection("hand", unlike=True, unlike_reason="unknown", points=upside_down, level=None),
        detection("turned", unlike=True, unlike_reason="mirrored", level=None),
    ]
    points = points_json(tmp_path, *odd, *(detection(f"good{n}") for n in range(3)))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    said = capsys.readouterr()
    assert "3 images" in said.out and "5 images: 3 analysed, 0 with warnings, 2 unlike" in said.out
    counts = [int(line.split()[-2]) for line in said.out.splitlines() if line.startswith("ODI: ")]
    assert sum(counts) == 3
    assert "2 of 5 images are unlike" in said.err and "hand, turned (mirrored)" in said.err
    document = json.loads((tmp_path / "out" / "measures.json").read_text())
    assert [each["unlike_reason"] for each in document["images"][:2]] == ["unknown", "mirrored"]
    assert all(each["class"] is None for image in document["images"][:2] for each in image["measures"])


def test_why_an_unlike_image_has_no_measures_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nine lines stood eight times, and ended in the advice to say which side it faces."""
    face = make_face()
    face["sella"], face["nasion"] = face["nasion"], face["sella"]  # the pairs contradict each other
    unclear = in_image(face)
    points = points_json(tmp_path, detection(points=unclear, unlike=True, unlike_reason="unknown", level=None))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("is not clear") == said.count("do not use: unlike the training images") == 1
    assert "--facing" not in said and said.count("no class") == 8 + 1
    rows = table(tmp_path / "out" / "measures.csv")
    assert {row["note"] for row in rows} == {"no class, do not use: unlike the training images (reason unknown)"}
    points_json(tmp_path, detection(points=unclear))
    assert run_analyse([points, "--output", str(tmp_path / "again"), "--no-tracings"]) == 1
    assert "or say it with --facing" in " ".join(capsys.readouterr().err.split())


def test_the_folder_that_detect_wrote_stands_for_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(Path(points_json(tmp_path, detection())).parent)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"empty: the folder holds no points\.json; write one by `ldx detect"):
        run_analyse(["empty", "--output", "out"])
    assert run_analyse([folder, "--output", "out", "--no-tracings"]) == 0
    assert [row["image"] for row in table(tmp_path / "out" / "measures.csv")] == ["face"] * 8


def test_a_spread_that_is_not_calibrated_gives_no_probability(tmp_path: Path) -> None:
    points = points_json(tmp_path, detection(level=None))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    rows = table(tmp_path / "out" / "measures.csv")
    assert {row[key] for row in rows for key in ("probability", "sd", "low", "high", "uncertain")} == {""}
    assert all(row["class"] for row in rows)
    notes = json.loads((tmp_path / "out" / "measures.json").read_text())["images"][0]["notes"]
    assert any("not calibrated" in note for note in notes)


def test_measures_that_no_head_has_are_named_with_their_range_and_have_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when --facing left on an image turned round gave ANB 185 degrees, skeletal class II, and status 0."""
    face = make_face()
    face["subspinale"] = np.array([150.0, -40.0])  # far ahead of the nose: SNA is 153 degrees
    points = points_json(tmp_path, detection(points=in_image(face)), detection("fine"))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 1
    rows = {row["measure"]: row for row in table(tmp_path / "out" / "measures.csv") if row["image"] == "face"}
    assert float(rows["SNA"]["value"]) == pytest.approx(153.4, abs=0.1)
    assert rows["SNA"]["class"] == "" and "45 to 125" in rows["SNA"]["note"]
    assert rows["SNB"]["class"] == "3"  # not made of the point that is wrong
    warning = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: face: no head"))
    assert "SNA 153.4° (45 to 125°)" in warning and "look at the points" in warning


def test_exchanged_points_are_named_and_their_measures_have_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    face = make_face()
    face["orbitale"], face["subspinale"] = face["subspinale"], face["orbitale"]
    points = points_json(tmp_path, detection(points=in_image(face)))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 1
    assert "face: orbitale and subspinale are exchanged" in capsys.readouterr().err
    rows = {row["measure"]: row["class"] for row in table(tmp_path / "out" / "measures.csv")}
    assert {name for name, found in rows.items() if found} == {"SNB", "FHI", "FHA", "MW"}


def test_a_spacing_ten_times_too_large_is_told_and_modified_wits_has_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = points_json(tmp_path, detection(spacing=(1.0, 1.0)))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 1
    assert "nasion and menton are 1165 mm apart, in a face 50 to 200 mm" in capsys.readouterr().err
    rows = {row["measure"]: row["class"] for row in table(tmp_path / "out" / "measures.csv")}
    assert rows.pop("MW") == "" and all(rows.values())


def test_the_table_carries_the_path_like_points_csv(tmp_path: Path) -> None:
    points = points_json(tmp_path, detection(path="=b/1.dcm"))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    assert {row["path"] for row in table(tmp_path / "out" / "measures.csv")} == {"'=b/1.dcm"}


@pytest.mark.parametrize("width", [80, 60])
def test_the_table_of_an_image_is_read_in_a_narrow_terminal(
    width: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word is broken, no name has a letter a line, and nothing is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    face = make_face()
    face["menton"] = np.full(2, np.nan)
    points = points_json(tmp_path, detection(points=in_image(face)))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table_lines = lines[lines.index("face") + 1 :]
    assert max(map(len, table_lines)) <= width
    for name in ("ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FHA", "MW"):
        assert sum(line.split()[:1] == [name] for line in table_lines) == 1, name
    words = " ".join(table_lines).split()
    assert {"prognathic", "mandible,", "menton:"} <= set(words)


@pytest.mark.parametrize("spacing", [["0"], ["1", "2", "3"], ["nan"]])
def test_a_spacing_that_is_none_is_refused(spacing: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spacing: found"):
        given = f"--spacing={','.join(spacing)}"
        run_analyse([points_json(tmp_path, detection()), f"--output={tmp_path / 'out'}", given])
    assert not (tmp_path / "out").exists()


def annotated(root: Path, count: int) -> str:
    (root / "cepha400").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, count + 1):
        Image.new("L", SIZE).save(root / "cepha400" / f"{number:03d}.png")
        for folder, snb in (("400_senior", 76.0), ("400_junior", 76.0 + 6 * (number == 1))):
            points = in_image(make_face(snb=snb)) + rng.normal(0, 0.5, (len(LANDMARK_NAMES), 2))
            (root / folder).mkdir(exist_ok=True)
            lines = [f"{x:.4f},{y:.4f}" for x, y in points]
            (root / folder / f"{number:03d}.txt").write_text("\n".join(lines) + "\n")
    return str(root)


def test_doctors_and_model_are_compared_and_the_table_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = annotated(tmp_path / "isbi", 4), tmp_path / "out"
    points = points_json(tmp_path, *(detection(f"{n:03d}", points=in_image(make_face(snb=76.0))) for n in (1, 2)))
    assert run_analyse(["--annotations", root, "--part", "train", "--output", str(out)]) == 0
    first = {row["measure"]: row for row in table(out / "agreement.csv")}
    assert (first["SNB"]["images"], first["SNB"]["same"]) == ("4", "0.7500")
    assert run_analyse(["--annotations", root, "--points", points, "--output", str(out), "--overwrite"]) == 0
    rows = table(out / "agreement.csv")
    assert len(rows) == 4 * 9
    same = {row["first"]: row["same"] for row in rows if row["measure"] == "SNB" and row["second"] == "model"}
    assert same == {"senior": "1.0000", "junior": "0.5000", "mean of both": "0.5000"}
    document = json.loads((out / "agreement.json").read_text())
    assert (document["images"], document["model"]) == (["001", "002"], "m.ldx")
    assert "mean of both and model" in capsys.readouterr().out
    with pytest.raises(UserError, match="already"):
        run_analyse(["--annotations", root, "--output", str(out)])


def test_the_real_annotations_are_compared(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = str(shared_data("isbi2015"))
    assert run_analyse(["--annotations", root, "--part", "test", "--output", str(tmp_path)]) == 0
    assert [row["images"] for row in table(tmp_path / "agreement.csv")] == ["150"] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to analyse"),
        (["a.png"], "--model"),
        (["a.json", "b.json"], "one points.json"),
        (["a.json", "--model", "m.ldx"], "leave --model out"),
        (["a.json", "--part", "test"], "--part: only with --annotations"),
        (["a.json", "--points", "b.json"], "--points: only with --annotations"),
        (["a.json", "--annotations", "x"], "INPUT: leave it out"),
        (["--annotations", "x", "--facing", "left"], "--facing: leave it out"),
        (["a.json", "--fast"], "--fast: only with --model"),
        (["a.json", "--facign", "left"], "unknown option '--facign'.*--facing"),
        (["missing.json"], "no such file"),
        (["--annotations", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        run_analyse([*arguments, "--output", "out"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_measures_do_not_depend_on_how_the_image_lies(form: Form, tmp_path: Path) -> None:
    """Points of a file that was recognised as turned or mirrored have the values of the upright face."""
    upright = detection(spacing=(0.1, 0.1))
    size = form.upright_size(SIZE)
    file = replace(
        upright, size=size, orientation=form.name, orientation_probability=1.0,
        points=form.apply_points(upright.points, size), covariance=form.apply_matrices(COVARIANCE),
    )  # fmt: skip
    values = []
    for name, each in (("upright", upright), ("file", file)):
        out = tmp_path / name / "out"
        assert run_analyse([points_json(tmp_path / name, each), "--output", str(out), "--no-tracings"]) == 0
        values.append([(row["value"], row["class"]) for row in table(out / "measures.csv")])
    assert values[1] == values[0]
    (image,) = json.loads((out / "measures.json").read_text())["images"]
    assert (image["facing"], image["orientation"]) == ("left" if form.mirrored else "right", form.name)


def test_an_orientation_that_nobody_recognised_is_still_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upside_down = BY_NAME["upside down"].apply_points(detection().points, SIZE)
    points = points_json(tmp_path, detection(points=upside_down))
    assert run_analyse([points, "--output", str(tmp_path / "out"), "--no-tracings"]) == 1
    assert "the face stands on its head" in capsys.readouterr().err
