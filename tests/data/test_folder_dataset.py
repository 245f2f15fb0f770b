"""The user's own images and CSV: every documented form is read, and each fault names its file and line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.data.sources.folder.source import FolderDataset

CHEST15 = Path(__file__).parents[2].parent / "shared" / "data" / "chest15"
SIZES = {"a.png": (64, 80), "b.png": (100, 50), "c.jpg": (64, 80), "d.png": (70, 70)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDX_CACHE", str(tmp_path / "cache"))


def _images(folder: Path, names: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names if names is not None else list(SIZES)):
        width, height = SIZES.get(name, (64, 80))
        ramp = np.add.outer(np.arange(height), np.arange(width)) % 200 + 10 * index
        Image.fromarray(ramp.astype(np.uint8)).save(folder / name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _images(tmp_path / "own")
    return tmp_path / "own"


def _all(dataset: FolderDataset) -> dict[str, np.ndarray]:
    parts = [dataset.samples(stage) for stage in ("train", "val", "test")]
    return {sample.image_id: sample.annotations for part in parts for sample in part}


WIDE = "image,x1,y1,x2,y2\na.png,1,2,3.5,4\nb.png,5,6,,\nc.jpg,9,10,11,12\nd.png,0,0,69,69\n"
NAMED = WIDE.replace("x1,y1,x2,y2", "1_x,1_y,2_x,2_y")
LONG = (
    "image,landmark,x,y\na.png,2,3.5,4\na.png,1,1,2\nb.png,1,5,6\nc.jpg,1,9,10\nc.jpg,2,11,12\nd.png,1,0,0\n"
    "d.png,2,69,69\n"
)
EXPECTED = {
    "a.png": [[1, 2], [3.5, 4]],
    "b.png": [[5, 6], [np.nan, np.nan]],
    "c.jpg": [[9, 10], [11, 12]],
    "d.png": [[0, 0], [69, 69]],
}


@pytest.mark.parametrize(
    "text",
    [
        WIDE,
        NAMED,
        LONG,
        "\ufeff" + WIDE.replace("\n", "\r\n"),
        WIDE.replace(",", ";"),
        WIDE.replace(",", "\t"),
        WIDE.replace("image,x1,y1,x2,y2", "ID , X_1, Y_1, X_2, Y_2"),
        LONG.replace("d.png,2", "\n\nd.png,2") + "b.png,2,,\n",
        '"image","x1","y1","x2","y2"\n' + WIDE.split("\n", 1)[1].replace("a.png", '"a.png"'),
        "image,x2,y2,x1,y1\na.png,3.5,4,1,2\nb.png,,,5,6\nc.jpg,11,12,9,10\nd.png,69,69,0,0\n",
    ],
    ids=["wide", "named", "long", "excel", "semicolon", "tab", "upper case", "long with gaps", "quoted", "reordered"],
)
def test_forms_of_the_table_read_alike(root: Path, text: str) -> None:
    (root / "points.csv").write_text(text, encoding="utf-8")
    dataset = FolderDataset(root)
    assert dataset.landmark_names == ("1", "2") and len(dataset.annotator_names) == 1
    assert dataset.unit == "px"
    found = _all(dataset)
    assert set(found) == set(EXPECTED)
    for image, points in EXPECTED.items():
        np.testing.assert_array_equal(found[image], [points])


def test_long_form_with_annotators_has_nan_where_one_did_not_mark(root: Path) -> None:
    rows = [f"{image},{who},{mark},{3 + len(who)},{4}" for image in SIZES for who in ("anna", "bo")
            for mark in ("tip", "base") if (image, who, mark) != ("b.png", "bo", "tip")]  # fmt: skip
    (root / "points.csv").write_text("image,annotator,landmark,x,y\n" + "\n".join(rows))
    dataset = FolderDataset(root)
    assert dataset.annotator_names == ("anna", "bo") and dataset.landmark_names == ("tip", "base")
    found = _all(dataset)
    np.testing.assert_array_equal(found["a.png"], [[[7, 4], [7, 4]], [[5, 4], [5, 4]]])
    np.testing.assert_array_equal(found["b.png"], [[[7, 4], [7, 4]], [[np.nan, np.nan], [5, 4]]])


@pytest.mark.parametrize("place", ["", "images", "tables"])
@pytest.mark.parametrize("strip", [True, False], ids=["without suffix", "with suffix"])
def test_images_are_found_beside_the_table_in_root_and_in_images(tmp_path: Path, place: str, strip: bool) -> None:
    root = tmp_path / "own"
    _images(root / place)
    table = root / "tables" / "points.csv"
    table.parent.mkdir(exist_ok=True)
    table.write_text(WIDE.replace(".png", "").replace(".jpg", "") if strip else WIDE)
    samples = FolderDataset(root, csv="tables/points.csv", split="seeded").samples("train")
    assert samples and all(sample.image_path is not None and sample.image_path.is_file() for sample in samples)
    assert all(sample.size == SIZES[sample.image_path.name] for sample in samples if sample.image_path is not None)


def test_image_in_a_subfolder_and_the_csv_by_full_path(tmp_path: Path) -> None:
    _images(tmp_path / "own" / "p1", ["a.png"])
    _images(tmp_path / "own" / "p2", ["a.png", "b.png"])
    (tmp_path / "own" / "p2" / "b.png").replace(tmp_path / "own" / "p2" / "a.png")  # another picture than p1's
    table = tmp_path / "elsewhere.csv"
    table.write_text("image,x1,y1\np1/a.png,31,42\np2/a,33,44\n")
    dataset = FolderDataset(tmp_path / "own", csv=table, fractions=(1, 0, 0))
    assert [sample.image_id for sample in dataset.samples("train")] == ["p1/a.png", "p2/a"]
    assert [finding for finding in dataset.check() if finding.level != "note"] == []


@pytest.mark.parametrize(
    ("columns", "values", "spacing"),
    [("spacing", "0.25", (0.25, 0.25)), ("spacing_x,spacing_y", "0.2,0.3", (0.2, 0.3))],
)
def test_spacing_makes_the_unit_mm(root: Path, columns: str, values: str, spacing: tuple[float, float]) -> None:
    header, *rows = WIDE.splitlines()
    (root / "points.csv").write_text("\n".join([f"{header},{columns}", *(f"{row},{values}" for row in rows)]))
    dataset = FolderDataset(root)
    assert dataset.unit == "mm" and dataset.radii == (2.0, 2.5, 3.0, 4.0)
    assert dataset.samples("train")[0].spacing == spacing
    assert FolderDataset(root, radii=(1, 2)).radii == (1.0, 2.0)


def test_radii_without_spacing_follow_the_diagonal(root: Path) -> None:
    (root / "points.csv").write_text(WIDE)
    diagonal = np.median([np.hypot(*size) for size in SIZES.values()])
    assert FolderDataset(root).radii == tuple(float(round(diagonal * p / 100)) for p in (1, 2, 3, 5))


PARTS = {"a.png": "Train", "b.png": "training", "c.jpg": "valid", "d.png": "TEST"}


def _with_parts(parts: dict[str, str], column: str = "split") -> str:
    header, *rows = WIDE.splitlines()
    return "\n".join([f"{header},{column}", *(f"{row},{parts[row.split(',')[0]]}" for row in rows)])


def test_split_column_by_its_name(root: Path) -> None:
    (root / "points.csv").write_text(_with_parts(PARTS, "Part"))
    dataset = FolderDataset(root, split_column="part")
    ids = {stage: [s.image_id for s in dataset.samples(stage)] for stage in ("train", "val", "test", "predict")}
    assert ids == {"train": ["a.png", "b.png"], "val": ["c.jpg"], "test": ["d.png"], "predict": ["d.png"]}
    assert dataset.landmark_names == ("1", "2")


def test_split_column_without_val_gives_a_share_of_train(root: Path) -> None:
    (root / "points.csv").write_text(_with_parts(PARTS | {"c.jpg": "train"}))
    dataset = FolderDataset(root)
    train, val, test = ({s.image_id for s in dataset.samples(stage)} for stage in ("train", "val", "test"))
    assert len(val) == 1 and train | val == {"a.png", "b.png", "c.jpg"} and not train & val and test == {"d.png"}
    assert FolderDataset(root, val_fraction=0).samples("val") == []


def test_the_split_all_trains_every_image_and_says_nothing_of_empty_parts(root: Path) -> None:
    (root / "points.csv").write_text(_with_parts({"a.png": "train", "b.png": "val", "c.jpg": "test", "d.png": "test"}))
    dataset = FolderDataset(root, split="all")
    assert [sample.image_id for sample in dataset.samples("train")] == ["a.png", "b.png", "c.jpg", "d.png"]
    assert dataset.samples("val") == dataset.samples("test") == []
    assert [note.partition("csv: ")[2] for note in dataset.notes()] == [
        "split all images train: train 4, val 0, test 0"
    ]


def test_seeded_split_divides_and_repeats(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(20)]
    _images(tmp_path / "own", names)
    (tmp_path / "own" / "points.csv").write_text("image,x1,y1,split\n" + "\n".join(f"{n},1,2,train" for n in names))

    def ids(seed: int) -> list[list[str]]:
        dataset = FolderDataset(tmp_path / "own", split="seeded", seed=seed, fractions=(0.6, 0.2, 0.2))
        return [[s.image_id for s in dataset.samples(stage)] for stage in ("train", "val", "test")]

    assert [len(part) for part in ids(0)] == [12, 4, 4]
    assert sorted(name for part in ids(0) for name in part) == sorted(names)
    assert ids(0) == ids(0) != ids(1)


BAD_TABLES = {
    "word": (WIDE.replace("9,10", "9,ten"), 4, "landmark '1': found 'ten', expected a number"),
    "half nan": (WIDE.replace("9,10", "nan,10"), 4, "found only one of x and y"),
    "inf": (WIDE.replace("9,10", "9,Infinity"), 4, "found 'Infinity', expected a finite number"),
    "half a point": (WIDE.replace("9,10", "9,"), 4, "found only one of x and y"),
    "too few cells": (WIDE.replace("9,10,", "9,"), 4, "found 4 cells, expected 5"),
    "too many cells": (WIDE.replace("9,10,", "9,9,10,"), 4, "found 6 cells, expected 5"),
    "outside": (WIDE.replace("5,6", "5,50"), 3, r"'1' of 'b.png' lies at \(5, 50\), outside its image of 100x50"),
    "negative": (WIDE.replace("5,6", "-0.6,5"), 3, r"lies at \(-0.6, 5\), outside"),
    "image twice": (WIDE + "a.png,1,2,3,4\n", 6, "the image 'a.png' is there twice, first in line 2"),
    "one file twice": (WIDE + "a,1,2,3,4\n", 6, "'a' is the same file as the image in line 2"),
    "image missing": (WIDE + "e.png,1,2,3,4\n", 6, "the image 'e.png' is not there; looked in"),
    "image empty": (WIDE + ",1,2,3,4\n", 6, "the image's name is empty"),
    "landmark twice": (LONG + "a.png,1,1,2\n", 9, "landmark '1' of 'a.png' is there twice, first in line 3"),
    "landmark empty": (LONG + "a.png,,1,2\n", 9, "the column 'landmark' is empty"),
    "long outside": (LONG + "b.png,2,100,2\n", 9, r"lies at \(100, 2\), outside"),
    "long word": (LONG.replace("9,10", "9,x"), 5, "found 'x', expected a number"),
    "no image column": (WIDE.replace("image", "picture"), 1, "no column for the image: found picture, x1"),
    "no landmarks": ("image,age\na.png,3\n", 1, "no landmark columns: found image, age"),
    "no partner": (WIDE.replace(",y2", ",z2"), 1, "the column 'x2' has no partner"),
    "no header, a number twice": ("a.png,162,162,12,13\nb.png,1,2,3,4\n", 1, "the header line is missing: found a.png"),
    "no header, long": ("a.png,anna,apex,3,4\nb.png,anna,apex,3,4\n", 1, "the header line is missing: found a.png"),
    "another image column": ("Bild-Datei,x1,y1\na.png,1,2\n", 1, "no column.*name it image, image_id,.*path or img"),
    "column twice": (WIDE.replace("x2,y2", "x1,y1"), 1, "the column 'x1' is there twice"),
    "half a spacing": ("image,spacing_x,x1,y1\na.png,1,2,3\n", 1, "found the column 'spacing_x' without 'spacing_y'"),
    "header only": ("image,x1,y1\n", 1, "found a header but no row"),
    "zero spacing": ("image,spacing,x1,y1\na.png,0,2,3\n", 2, "spacing: found 0, expected mm a pixel, above 0"),
    "some spacing": ("image,spacing,x1,y1\na.png,1,2,3\nb.png,,2,3\n", 3, "the spacing of 'b.png' is empty"),
    "spacing word": ("image,spacing,x1,y1\na.png,1mm,2,3\n", 2, "spacing: found '1mm', expected a number"),
    "size": ("image,width,height,x1,y1\na.png,80,64,2,3\n", 2, "width and height are 80x64, but 'a.png' has 64x80 px"),
    "half a size": ("image,width,height,x1,y1\na.png,80,,2,3\n", 2, "found only one of 'width' and 'height'"),
    "part": (_with_parts(PARTS | {"c.jpg": "hold-out"}), 4, "split: found 'hold-out' for 'c.jpg', expected train"),
    "part empty": (_with_parts(PARTS | {"c.jpg": ""}), 4, "split: found '' for 'c.jpg', expected train"),
    "long sizes": ("image,landmark,x,y,spacing\na.png,1,1,1,1\na.png,2,1,1,2\n", 3, r"spacing of 'a.png': found \(2"),
}


@pytest.mark.parametrize(("text", "line", "said"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_table_names_file_and_line(root: Path, text: str, line: int, said: str) -> None:
    path = root / "points.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"own/points\.csv:{line}: .*{said}") as caught:
        FolderDataset(root).samples("train")
    assert (caught.value.path, caught.value.line) == (path, line)


def test_check_lists_all_faults_at_once(root: Path) -> None:
    text = WIDE.replace("1,2,3.5", "x,2,3.5").replace("5,6,,", "5,60,,").replace("9,10,11", "9,10,inf")
    (root / "points.csv").write_text(text + "e.png,1,2,3,4\n")
    _images(root, ["f.png"])
    (root / "d.png").write_bytes((root / "d.png").read_bytes()[:50])
    errors = [finding.message for finding in FolderDataset(root).check() if finding.level == "error"]
    places = ["csv:2: ", "csv:3: ", "csv:4: ", "csv:6: ", "f.png: the image has no row in", "d.png: the image cannot"]
    assert len(errors) == len(places)
    assert all(any(place in message for message in errors) for place in places)


def _notes(root: Path) -> list[str]:
    return [note.partition("csv: ")[2] for note in FolderDataset(root).notes()]


def test_images_without_a_row_are_left_out_with_one_note(root: Path) -> None:
    """Unlabelled images beside labelled ones, from which a model was pre-trained, are nothing to be mended."""
    (root / "points.csv").write_text(WIDE)
    _images(root, ["extra.png"])
    assert "1 of 5 images has no row and is left out: extra.png" in _notes(root)
    _images(root, [f"more{number}.png" for number in range(5)])
    dataset = FolderDataset(root)
    assert _all(dataset).keys() == EXPECTED.keys()
    assert [finding for finding in dataset.check() if finding.level == "error"] == []
    assert "6 of 10 images have no row and are left out: extra.png, more0.png, more1.png, ..." in _notes(root)


def test_images_of_which_no_point_is_marked_yet_are_left_out(root: Path) -> None:
    (root / "landmarks.csv").write_text(WIDE.replace("5,6", ",").replace("0,0,69,69", ",,,"))
    assert [sample.image_id for sample in FolderDataset(root, split="all").samples("train")] == ["a.png", "c.jpg"]
    assert "2 of 4 images have no point and are left out: b.png, d.png" in _notes(root)


def test_parts_that_are_empty_or_small_are_told(tmp_path: Path) -> None:
    names = [f"{index:02d}.png" for index in range(16)]
    _images(tmp_path / "own", names)
    for parts, said in (
        (["train"] * 6 + ["test"] * 10, "no validation images: no weights are chosen as the best, and `ldx test`"),
        (["train"] * 5 + ["val"] * 2 + ["test"] * 9, "only 9 test images: the figures will say little; `ldx crossval`"),
        (["train"] * 15 + ["val"], "no test images: `ldx test` has nothing to measure"),
        (["val"] * 6 + ["test"] * 10, "no training images: nothing can be trained on this split"),
    ):
        rows = [f"{names[place]},{place},{2 * place},{part}" for place, part in enumerate(parts)]
        (tmp_path / "own" / "points.csv").write_text("\n".join(["image,x1,y1,split", *rows]))
        dataset = FolderDataset(tmp_path / "own", val_fraction=0.0)
        (note,) = [note.partition("csv: ")[2] for note in dataset.notes() if "split by" not in note]
        assert note.startswith(said)
        assert not any("only" in note for note in FolderDataset(tmp_path / "own", split="folds:5/1").notes())


def test_images_of_other_kinds_are_counted(root: Path) -> None:
    (root / "points.csv").write_text(WIDE)
    for name in ("anim.gif", "b.NII", ".hidden.gif"):
        (root / name).touch()
    assert "2 files of other kinds (.gif, .nii) were not looked at" in _notes(root)


def test_images_without_a_row_are_an_error_where_rows_are_without_an_image(root: Path) -> None:
    """``e`` may be ``extra``: what is left over on both sides may belong together."""
    (root / "points.csv").write_text(WIDE + "e.png,1,2,3,4\n")
    _images(root, ["extra.png", "more.png"])
    errors = [finding.message for finding in FolderDataset(root).check() if finding.level == "error"]
    assert len(errors) == 2 and "points.csv:6: the image 'e.png' is not there" in errors[0]
    assert errors[1].endswith("extra.png: the image has no row in " + f"{root / 'points.csv'} (and 1 more: more.png)")
    assert not any("left out" in note for note in _notes(root))


def test_the_nearest_image_is_named_where_a_name_is_misspelt(root: Path) -> None:
    (root / "points.csv").write_text(WIDE.replace("a.png", "a.tif"))
    _images(root, ["extra.png"])
    errors = [finding.message for finding in FolderDataset(root).check() if finding.level == "error"]
    assert "the nearest file a.png differs in the ending" in errors[0]
    assert "extra.png: the image has no row" in errors[1]


def test_bad_row_does_not_make_its_image_unannotated_as_well(root: Path) -> None:
    (root / "points.csv").write_text(WIDE.replace("9,10,", "9,"))
    assert [finding.message for finding in FolderDataset(root).check() if "c.jpg: " in finding.message] == []


def test_stem_of_two_files_is_refused(root: Path) -> None:
    _images(root, ["a.bmp"])
    (root / "points.csv").write_text(WIDE.replace("a.png", "a"))
    with pytest.raises(DataError, match=r"points\.csv:2: the image 'a' can mean a\.bmp, a\.png; add the suffix"):
        FolderDataset(root).samples("train")


def test_empty_folder_and_missing_or_several_tables(tmp_path: Path, root: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no CSV file in this folder"):
        FolderDataset(tmp_path / "empty")
    (tmp_path / "empty" / "points.csv").write_text(WIDE)
    with pytest.raises(DataError, match=r"empty: no image found here or in images/"):
        FolderDataset(tmp_path / "empty").samples("train")
    with pytest.raises(DataError, match=r"nowhere: data\.root: the folder does not exist"):
        FolderDataset(tmp_path / "nowhere")
    for name in ("one.csv", "two.csv"):
        (root / name).write_text(WIDE)
    with pytest.raises(DataError, match=r"own: 2 CSV files in this folder \(one\.csv, two\.csv\)"):
        FolderDataset(root)
    assert FolderDataset(root, csv="two.csv").samples("train")
    with pytest.raises(DataError, match=r"three\.csv: csv: the file does not exist"):
        FolderDataset(root, csv="three.csv")
    (root / "two.csv").write_text("")
    with pytest.raises(DataError, match=r"two\.csv: the file is empty"):
        FolderDataset(root, csv="two.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"split": "folds:7/1"}, "found 7 folds, expected 2 to"),
        ({"split": "folds:5/6"}, "split: found 'folds:5/6', expected folds:K/N such as folds:5/2"),
        ({"split": "official"}, "split: found 'official', expected auto, column, seeded, all or folds:5/1"),
        ({"fractions": (0.5, 0.5, 0.5)}, "fractions: found"),
        ({"fractions": (0, 0.5, 0.5)}, "the train part would be empty"),
        ({"val_fraction": 1.0}, "val_fraction: found 1.0"),
        ({"radii": ()}, "radii: found"),
        ({"split_column": "authors_split"}, r"points\.csv:1: split_column: no column 'authors_split'\. Did you mean"),
        ({"split": "column"}, r"points\.csv:1: split_column: no column 'split'"),
    ],
)
def test_options_that_cannot_be_used(root: Path, options: dict, said: str) -> None:
    (root / "points.csv").write_text(_with_parts(PARTS, "author_split"))
    with pytest.raises(UserError, match=said):
        FolderDataset(root, **options)


def test_misspelt_landmark_in_the_long_form_is_doubted(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(25)]
    _images(tmp_path / "own", names)
    rows = [f"{name},{mark},{30 + i},{40 - i}" for i, name in enumerate(names) for mark in ("sella", "nasion")]
    rows[0] = rows[0].replace("sella", "selle")
    (tmp_path / "own" / "points.csv").write_text("image,landmark,x,y\n" + "\n".join(rows))
    messages = [finding.message for finding in FolderDataset(tmp_path / "own").check() if finding.level != "note"]
    assert len(messages) == 1 and "points.csv: landmark 'selle' is marked in 1 of 25 images" in messages[0]


def _long(folder: Path, rows: list[str], images: int = 12, header: str = "image,landmark,x,y") -> FolderDataset:
    _images(folder, [f"{index:02d}.png" for index in range(images)])
    (folder / "points.csv").write_text("\n".join([header, *rows]))
    return FolderDataset(folder)


def _warnings(dataset: FolderDataset) -> list[str]:
    return [each.message.partition("csv: ")[2] for each in dataset.check() if each.level == "warning"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ((5, "apex", "apexx"), ["landmark 'apexx' is marked in 1 of 12 images; did you mean 'apex'?"]),
        ((5, "apex", "distal"), []),  # one of its own, in an image without the other
        ((5, "base", "apexx"), []),  # apex stands beside it
    ],
)
def test_a_rare_name_is_taken_for_the_one_that_its_images_lack(
    tmp_path: Path, changed: tuple[int, str, str], said: list[str]
) -> None:
    image, before, after = changed
    rows = [f"{i:02d}.png,{mark},{20 + i},{50 - 2 * i}" for i in range(12) for mark in ("apex", "base")]
    rows = [row.replace(before, after) if row.startswith(f"{image:02d}.png") else row for row in rows]
    dataset = _long(tmp_path / "own", rows)
    assert _warnings(dataset) == said
    if said:
        with pytest.warns(UserWarning, match="did you mean 'apex'"):  # at the start of fit
            dataset.samples("train")


def test_a_misspelt_annotator_is_no_second_one(tmp_path: Path) -> None:
    rows = [f"{i:02d}.png,{who},tip,{20 + i},{50 - 2 * i}" for i in range(12) for who in ("anna", "bo")]
    rows[6] = rows[6].replace("anna", "anne")
    dataset = _long(tmp_path / "own", rows, header="image,annotator,landmark,x,y")
    assert _warnings(dataset) == ["annotator 'anne' marked 1 of 12 images; did you mean 'anna'?"]


def test_columns_without_any_point_are_one_warning(root: Path) -> None:
    header = ",".join(f"x{number},y{number}" for number in range(1, 10))
    rows = "".join(f"{name},3,{4 + place}{',' * 16}\n" for place, name in enumerate(SIZES))
    (root / "points.csv").write_text(f"image,{header}\n{rows}")
    expected = "landmarks '2', '3', '4', '5', '6' and 3 more are marked in 0 of 4 images"
    assert [each for each in _warnings(FolderDataset(root)) if "marked in" in each] == [expected]
    (root / "points.csv").write_text(f"image,{header}\n")
    assert [each.level for each in FolderDataset(root).check()] == ["error"]


@pytest.mark.parametrize("cell", ["12. Mrz", "0.1 mm"])
def test_a_fault_of_every_row_is_one_line(tmp_path: Path, cell: str) -> None:
    names = [f"{index:02d}.png" for index in range(12)]
    _images(tmp_path / "own", names)
    rows = [f"{name},{cell if 'mm' in cell else 0.5},{3 if 'mm' in cell else cell},4" for name in names]
    (tmp_path / "own" / "points.csv").write_text("\n".join(["image,spacing,x1,y1", *rows]))
    (error,) = [each.message for each in FolderDataset(tmp_path / "own").check() if each.level == "error"]
    assert "points.csv:2: " in error and f"found {cell!r}, expected a number" in error
    assert error.endswith(" (and 11 more like it, in lines 3, 4, 5, 6, 7, ...)")


def test_points_outside_of_several_images_are_one_fault(tmp_path: Path) -> None:
    """It counted as one without a line, one with a line, and one for each point."""
    names = [f"{index:02d}.png" for index in range(10)]
    _images(tmp_path / "own", names)
    rows = [f"{name},3,{400 if place in (3, 7) else 4 + place}" for place, name in enumerate(names)]
    (tmp_path / "own" / "points.csv").write_text("\n".join(["image,x1,y1", *rows]))
    (error,) = [each.message for each in FolderDataset(tmp_path / "own").check() if each.level == "error"]
    assert error.startswith(f"{tmp_path}/own/points.csv:5: points of 2 of 10 images lie outside their image")
    assert "(03.png, 07.png); landmark '1' of '03.png' lies at (3, 400)" in error
    assert error.endswith("(and 1 more like it, in line 9)")


def test_chest15_works_as_it_is() -> None:
    if not CHEST15.is_dir():
        pytest.skip(f"the chest radiographs are not here ({CHEST15})")
    dataset = FolderDataset(CHEST15, split_column="author_split")
    assert [len(dataset.samples(stage)) for stage in ("train", "val", "test")] == [100, 23, 23]
    assert len(dataset.landmark_names) == 15 and dataset.unit == "px"
    samples = dataset.samples("train")
    assert all(dataset.load_image(sample).shape == (299, 299) for sample in samples[:5])
    findings = dataset.check()
    assert {finding.level for finding in findings} == {"warning"} and len(findings) <= 3
    (outlier,) = [finding.message for finding in findings if "viral-pneumonia-595" in finding.message]
    assert "landmarks.csv:59: " in outlier and "landmark 14 (94 px" in outlier


def test_chest15_is_divided_as_its_authors_did_without_an_option() -> None:
    """Its column is ``author_split``: a random division into 102, 22 and 22 took its place without a word."""
    if not CHEST15.is_dir():
        pytest.skip(f"the chest radiographs are not here ({CHEST15})")
    dataset = FolderDataset(CHEST15)
    assert [len(dataset.samples(stage)) for stage in ("train", "val", "test")] == [100, 23, 23]
    assert dataset.notes() == [
        f"{CHEST15 / 'landmarks.csv'}: split by the column 'author_split': train 100, val 23, test 23"
    ]


def test_what_only_looks_like_a_split_is_refused_unless_another_is_asked_for(root: Path) -> None:
    (root / "points.csv").write_text(_with_parts(PARTS | {"c.jpg": "hold-out"}, "set"))
    with pytest.raises(DataError, match=r"csv:1: the column 'set' looks like a split, .* by --data\.split seeded"):
        FolderDataset(root)
    dataset = FolderDataset(root, split="seeded")
    assert [note.partition("csv: ")[2] for note in dataset.notes()] == [
        "not used: the column set",
        "split at random (no split column; 0.7/0.15/0.15, seed 0): train 2, val 1, test 1",
        "only 1 test image: the figures will say little; `ldx crossval` tests every image once",
    ]


def test_a_split_column_that_the_option_passes_over_is_told(root: Path) -> None:
    (root / "points.csv").write_text(_with_parts(PARTS))
    note, _ = FolderDataset(root, split="seeded", seed=3).notes()
    said = "split at random (and not by the column 'split'; 0.7/0.15/0.15, seed 3): train 2, val 1, test 1"
    assert note.endswith(said)


def test_a_workbook_that_is_newer_than_the_table_is_told(root: Path) -> None:
    (root / "points.csv").write_text(WIDE)
    os.utime(root / "points.csv", (1, 1))
    (root / "points.xlsx").write_bytes(b"PK")
    assert "not used: points.xlsx, which is newer than this table" in FolderDataset(root).notes()[0]


ODD_TABLES = {
    "one column three times": (WIDE.replace("x2,y2", "x_1,y_1"), 1, "the columns 'x1' and 'x_1' are the same"),
    "leading zero": (WIDE.replace("x2,y2", "x01,y01"), 1, "the columns 'x1' and 'x01' are the same coordinate"),
    "names and numbers": (WIDE.replace("x2,y2", "tip_x,tip_y"), 1, r"found both numbered columns \('x1'\) and named"),
    "huge column number": (WIDE.replace("x1,", "x" + "9" * 5000 + ","), 1, "the column 'y1' has no partner"),
    "long name": (WIDE.replace("b.png", "b" * 300), 3, "is not there; looked in"),
    "open quote": ("image,x1,y1,note\na.png,1,2,\"x\nb.png,3,4,x\n", 3, "cannot be read as CSV"),
    "quote in the middle": (WIDE.replace("5,6", '"5"0,6'), 3, "cannot be read as CSV"),
    "line end in the header": ('"two\nlines",x1,y1\na.png,1,2\n', 1, r"found 'two\\nlines', x1, y1, expected"),
    "other digits": (WIDE.replace("5,6", "\u0665,6"), 3, "found '\u0665', expected a number"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "said"), ODD_TABLES.values(), ids=ODD_TABLES)
def test_a_table_that_loses_points_or_breaks_the_reader_is_refused(root: Path, text: str, line: int, said: str) -> None:
    (root / "points.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"own/points\.csv:{line}: .*{said}"):
        FolderDataset(root).samples("train")


def test_a_landmark_name_of_many_digits_is_a_name(root: Path) -> None:
    (root / "points.csv").write_text(LONG.replace(",1,", "," + "9" * 5000 + ","))
    assert FolderDataset(root).landmark_names[1] == "9" * 5000
