"""The report and metrics.json: complete, linked, whole on disk, and readable by anything that reads JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from landmark_diffusion.core.plain import plain
from landmark_diffusion.data.geometry import Frame
from landmark_diffusion.evaluation.metrics_file import write_metrics
from landmark_diffusion.evaluation.report import CaseDetails, choose_images, write_report
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.metrics.evaluation import Evaluation, evaluate
from landmark_diffusion.metrics.records import Prediction

LANDMARKS = ("sella", "nasion", "soft_tissue|chin")
RADII = (2.0, 2.5, 3.0, 4.0)


def _ranked(count: int) -> list[Prediction]:
    """Image i has a mean error of i px; given in reverse order."""
    rows = [Prediction(f"{i}", i, np.full((2, 2), [0.0, i]), np.zeros((1, 2, 2))) for i in range(count)]
    return rows[::-1]


def _evaluated(variants: dict[str, list[Prediction]], annotators=(), unit="mm", **more) -> Evaluation:
    return evaluate(variants, LANDMARKS, annotators, RADII, unit, main="multi-step", **more)


def _details(image_id: str) -> CaseDetails:
    rng = np.random.default_rng(0)
    maps = {"single-step": rng.random((3, 24, 16)), "multi-step": rng.random((3, 24, 16))}
    steps = [(t, rng.normal(size=(3, 24, 16)), rng.random((3, 24, 16))) for t in (9, 5, 0)]
    return CaseDetails(rng.random((24, 16)), Frame.fit((200, 200), (16, 24)), maps, steps)


def test_best_median_and_worst_are_chosen_by_mean_error() -> None:
    choices = choose_images(evaluate({"a": _ranked(101)}), 6)
    assert [choice.image_id for choice in choices] == ["0", "1", "49", "50", "99", "100"]
    assert [choice.why for choice in choices] == ["best", "best", "median", "median", "worst", "worst"]
    assert [choice.rank for choice in choices] == [1, 2, 50, 51, 100, 101]
    assert choices[-1].error == 100.0


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 7])
def test_few_images_are_shown_once_each(images) -> None:
    chosen = [choice.image_id for choice in choose_images(evaluate({"a": _ranked(images)}), 6)]
    assert len(set(chosen)) == len(chosen) <= min(images, 6)
    assert chosen[0] == "0" and chosen[-1] == str(images - 1)


def test_images_without_truth_are_not_chosen() -> None:
    rows = _ranked(3)
    rows[0].annotations[:] = np.nan
    assert {choice.image_id for choice in choose_images(evaluate({"a": rows}))} == {"0", "1"}


def test_report_links_every_picture_that_it_wrote(tmp_path, variants) -> None:
    image = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    asked: list[str] = []

    def images(image_id: str) -> np.ndarray:
        asked.append(image_id)
        return image

    results = Results(_evaluated(variants, ("senior", "junior")))
    written = write_report(tmp_path / "report", results, images, details=_details, overlays=3)
    text = written[0].read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert written[0].name == "README.md"
    assert linked == {path.name for path in written[1:]}
    assert linked - {"index.html"} == {path.name for path in written[0].parent.glob("*.png")}
    assert len(set(asked)) == 7 and len(asked) == 7 + 3, "each once for the page, three for pictures of their own"
    assert all(image_id in text.replace("\\", "") for image_id in asked[7:])
    for kind in ("overlay", "closeups", "heatmaps", "process"):
        assert {f"{kind}_1_best.png", f"{kind}_2_median.png", f"{kind}_3_worst.png"} <= linked
    assert "7 images, 20 points" in text and "protocol default" in text and "95 % interval" in text
    assert "soft\\_tissue\\|chin" in text
    assert "annotators.png" in linked and "multi-step beside senior and junior" in text
    assert text.count("people") > 0 and "people" not in text.split("## Annotators and spread")[0]  # told once
    assert not list(written[0].parent.glob(".tmp*"))


def test_report_of_one_variant_without_images(tmp_path, variants) -> None:
    single = [Prediction(p.image_id, p.index, p.points, p.annotations[:1], None) for p in variants["multi-step"]]
    results = Results(evaluate({"baseline": single}, LANDMARKS, ("reader",), (3, 6, 9), "px"))
    written = write_report(tmp_path, results, None)
    assert [path.name for path in written] == [
        "README.md",
        "index.html",
        "landmark_errors.png",
        "cumulative_errors.png",
    ]
    assert "Annotators and spread" not in written[0].read_text(encoding="utf-8")


def test_report_in_pixels_of_the_256_grid_says_so_everywhere(tmp_path, variants) -> None:
    chest = [replace(p, length_unit="px256") for p in variants["multi-step"]]
    image = np.zeros((200, 200), dtype=np.uint8)
    results = Results(evaluate({"a": chest}, LANDMARKS, (), (3, 6, 9)))
    written = write_report(tmp_path, results, lambda _: image, overlays=1)
    text = written[0].read_text(encoding="utf-8")
    assert "errors in px of 256x256" in text and " mm" not in text
    assert re.search(r"a: [\d.]+ px of 256x256, 95 % interval", text)
    assert re.search(r"mean error [\d.]+ px of 256x256 \(", text)
    assert len(written) == 7 and "lengths in px of 256x256" in text


def test_metrics_json_holds_the_numbers_and_no_nan(tmp_path, variants) -> None:
    for predictions in variants.values():
        for each in predictions:
            each.annotations[:, 2] = np.nan  # a landmark that is nowhere: its mean error is not a number
    extra = {"seed": np.int64(3), "command": "ldx test", "score": float("inf"), "folder": tmp_path}
    path = write_metrics(tmp_path / "metrics.json", Results(_evaluated(variants, ("senior", "junior"))), extra)
    found = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert found["extra"] == {"seed": 3, "command": "ldx test", "score": None, "folder": str(tmp_path)}
    assert found["landmarks"][2]["variants"]["multi-step"]["mre"] is None
    errors = np.concatenate(
        [np.hypot(*((p.points - p.annotations.mean(0)) * [0.1, 0.2]).T) for p in variants["multi-step"]]
    )
    summary = found["variants"]["multi-step"]
    assert summary["mre"] == pytest.approx(np.nanmean(errors), abs=1e-12)
    assert summary["sdr"]["2.5"] == pytest.approx(100 * np.mean(errors[~np.isnan(errors)] < 2.5))
    assert summary["images"] == 7 and summary["points"] == 13 and summary["missing"] == 8
    view = found["annotator_view"]
    assert view["variant"] == "multi-step" and view["landmarks"][2]["nearer"] is None and view["spearman"] is None
    assert found["unit"] == "mm" and found["radii"] == list(RADII) and "protocol default" in found["protocol"]


def test_other_protocols_stand_beside_the_honest_numbers(tmp_path, variants) -> None:
    sized = {name: [replace(p, image_size=(200, 200)) for p in each] for name, each in variants.items()}
    evaluation = _evaluated(sized, unit=None)
    results = Results(evaluation, other_protocols=("paper_b",))
    found = json.loads(write_metrics(tmp_path / "metrics.json", results).read_text(encoding="utf-8"))
    other, honest = found["other_protocols"]["paper_b"], evaluation.summaries["multi-step"]
    assert found["variants"]["multi-step"]["mre"] == honest.mre
    released = _evaluated(sized, unit=None, protocol="paper_b").summaries["multi-step"]
    assert other["variants"]["multi-step"]["mre"] == released.mre != honest.mre
    assert other["variants"]["multi-step"]["sdr"] == {f"{radius:g}": released.sdr[radius] for radius in RADII}
    assert (other["unit"], other["radii"]) == ("mm", list(RADII)) and "protocol paper_b" in other["protocol"]
    plainly = write_metrics(tmp_path / "plain.json", Results(_evaluated(variants)))
    assert json.loads(plainly.read_text(encoding="utf-8"))["other_protocols"] == {}
    report = write_report(tmp_path / "report", results, None)
    text = report[0].read_text(encoding="utf-8")
    assert text.index("protocol default") < text.index("not to be believed") < text.index("## Errors by landmark")


def test_interval_of_a_difference_is_paired() -> None:
    # b errs exactly 1 px more in every image, while the images differ wildly: only pairing sees it for sure.
    a = [Prediction(str(i), i, np.array([[10.0 * i, 0.0]]), np.zeros((1, 1, 2))) for i in range(8)]
    b = [Prediction(str(i), i, np.array([[10.0 * i + 1, 0.0]]), np.zeros((1, 1, 2))) for i in range(8)]
    found = evaluate({"a": a, "b": b}, main="b").intervals
    assert found["a"]["low"] < found["a"]["mean"] - 5
    difference = found["a - b"]
    assert (difference["mean"], difference["low"], difference["high"]) == pytest.approx((-1.0, -1.0, -1.0))


def test_plain_turns_keys_and_arrays_into_json() -> None:
    value = {2.5: (np.float64(1.0), np.array([1, 2])), None: np.nan, "flag": np.bool_(True)}
    assert plain(value) == {"2.5": [1.0, [1, 2]], "None": None, "flag": True}
