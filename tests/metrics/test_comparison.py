"""Runs are compared on the same images against the same truth, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landmark_diffusion.cli import main
from landmark_diffusion.cli.compare_verb import COLUMNS
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.metrics.bootstrap import paired_difference
from landmark_diffusion.metrics.comparison import Run, compare, find_predictions, known_radii, read_run
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.metrics.predictions_file import write_predictions_csv
from landmark_diffusion.metrics.records import Prediction

NAMES = ("a", "b", "c")
TRUTH = np.random.default_rng(0).uniform(10, 90, (6, 3, 2))


def write_run(
    folder: Path, offsets: np.ndarray, images: range = range(6), spacing: tuple[float, float] | None = (0.5, 0.5),
    names: tuple[str, ...] = NAMES, truth: np.ndarray = TRUTH,
) -> Path:  # fmt: skip
    """Write a run folder whose points lie ``offsets`` (I,) px right of the truth in each image."""
    cases = [
        Prediction(f"i{image}", image, truth[image] + np.array([offsets[image], 0]), truth[image][None], spacing)
        for image in images
    ]
    order = [NAMES.index(name) for name in names] if {*names} == {*NAMES} else [0, 1, 2]
    for case in cases:
        case.points, case.annotations = case.points[order], case.annotations[:, order]
    (folder / "test").mkdir(parents=True)
    write_predictions_csv(folder / "test" / "predictions.csv", evaluate({"a": cases}, names))
    return folder


FIRST, SECOND = np.array([2.0, 4, 6, 8, 10, 30]), np.array([1.0, 4, 3, 8, 12, 10])


def runs_of(*folders: Path) -> list[Run]:
    return [read_run(folder.name, [folder]) for folder in folders]


def test_figures_and_differences_by_hand(tmp_path: Path) -> None:
    """mm are px / 2; the order of images and landmarks does not matter."""
    one = write_run(tmp_path / "one", FIRST)
    two = write_run(tmp_path / "two", SECOND, images=range(5, -1, -1), names=("c", "a", "b"))
    found = compare(runs_of(one, two), (2.0, 4.0))
    figures = {(each.figure, each.run): each for each in found.figures}
    assert [each.figure for each in found.figures if each.run == "one"] == ["MRE", "median", "< 2", "< 4", "> 10"]
    assert (found.unit, len(found.images), found.landmarks) == ("mm", 6, 3)
    assert figures["MRE", "one"].value.mean == pytest.approx(5.0)  # type: ignore[union-attr]
    assert figures["MRE", "two"].difference.mean == pytest.approx(-11 / 6)  # type: ignore[union-attr]
    assert figures["median", "one"].median == pytest.approx(3.5)
    assert figures["< 2", "one"].value.mean == pytest.approx(100 / 6)  # strictly: 2.0 mm is no hit
    assert figures["< 2", "two"].difference.mean == pytest.approx(100 / 6)  # type: ignore[union-attr]
    assert figures["> 10", "two"].difference.mean == pytest.approx(-100 / 6)  # type: ignore[union-attr]
    assert figures["MRE", "one"].difference is None
    pair = paired_difference(np.repeat(SECOND[:, None], 3, 1) / 2, np.repeat(FIRST[:, None], 3, 1) / 2)
    assert figures["MRE", "two"].difference.high == pytest.approx(pair.high, abs=1e-5)  # type: ignore[union-attr]


def test_only_images_of_all_runs_count_and_the_others_are_named(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "x", FIRST), write_run(tmp_path / "y", SECOND, range(1, 6))]
    folders.append(write_run(tmp_path / "z", SECOND, range(5)))
    found = compare(runs_of(*folders), ())
    assert found.images == ("i1", "i2", "i3", "i4")
    assert found.left_out == {"x": ("i0", "i5"), "y": ("i5",), "z": ("i0",)}
    assert next(each.value.mean for each in found.figures if each.value) == pytest.approx(3.5)


def test_seeds_of_a_run_are_averaged_an_image(tmp_path: Path) -> None:
    seeds = [write_run(tmp_path / f"s{number}", FIRST + number) for number in range(3)]
    found = compare([read_run("all", seeds), read_run("one", [seeds[1]])], ())
    assert next(each.difference for each in found.figures if each.difference).mean == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spacing": None}, "is in px, .* in mm; runs of one unit"),
        ({"names": ("a", "b", "d")}, "other landmarks: only one of them has c, d"),
        ({"truth": TRUTH + np.array([0, 0.01])}, "6 of 6 images have another truth in .*, the first is i0"),
        ({"images": range(1)}, "images in all runs: 1, expected 2 or more"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, change: dict, said: str) -> None:
    folders = [write_run(tmp_path / "x", FIRST), write_run(tmp_path / "y", FIRST, **change)]
    with pytest.raises(UserError, match=said):
        compare(runs_of(*folders), ())


def test_where_predictions_and_radii_are_looked_for(tmp_path: Path) -> None:
    run = write_run(tmp_path / "x", FIRST)
    file = run / "test" / "predictions.csv"
    assert {find_predictions(place) for place in (run, run / "test", file)} == {file}
    assert known_radii(read_run("x", [run])) == (2.0, 2.5, 3.0, 4.0)
    (run / "test" / "metrics.json").write_text('{"radii": [3, 6, 9]}')
    assert known_radii(read_run("x", [run])) == (3.0, 6.0, 9.0)
    with pytest.raises(UserError, match=r"found no predictions\.csv in it nor in its test/; `ldx test` writes it"):
        find_predictions(tmp_path)


def test_the_command_prints_and_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/x"), FIRST)
    write_run(Path("runs/y"), SECOND, range(5))
    write_run(Path("more/y"), FIRST)
    assert main(["compare", "runs/x", "runs/y", "more/y", "--radii", "2", "--output", "out.csv"]) == 0
    out = capsys.readouterr().out
    assert "Comparison with x" in out and "5 images that all runs have" in out
    assert "left out of more/y: 1 images that not all runs have (i5)" in out  # two of a name are told apart
    header, *rows = Path("out.csv").read_text().splitlines()
    assert tuple(header.split(",")) == COLUMNS and len(rows) == 12
    assert rows[1].startswith("MRE,runs/y,mm,2.800000,") and ",-0.200000," in rows[1]
    assert main(["compare", "old=runs/x,more/y", "new=runs/y", "--radii", "2"]) == 0
    assert "seeds: old 2, new 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runs/x", "found 1 runs, expected two or more"),
        ("runs/x runs/y", "runs/y: there is no such file or folder"),
        ("runs/x runs/x", "found 'x' twice; tell the runs apart by NAME=RUN"),
        ("runs/x runs/x --radii 0", "found '0', expected lengths above 0"),
        ("runs/x runs/x --radius 2", "unknown option '--radius'. Did you mean --radii"),
    ],
)
def test_wrong_arguments(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/x"), FIRST)
    assert main(["compare", *words.split()]) == 1
    assert said in capsys.readouterr().err
