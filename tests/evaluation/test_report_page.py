"""The report's page as a file: it holds what was measured, worst first, also of images that cannot be read."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.evaluation import report_page
from landmark_diffusion.evaluation.report_page import write_report_page
from landmark_diffusion.evaluation.results import Results
from landmark_diffusion.metrics.evaluation import evaluate
from landmark_diffusion.spread.calibration import Spreads

LANDMARKS = ("sella", "nasion", "menton")


def _image(image_id: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (260, 200), dtype=np.uint8)


def _page(path: Path, results: Results, image_of: Any = _image, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    text = write_report_page(path, results, image_of, **more).read_text("utf-8")
    scripts = dict(re.findall(r'<script type="[a-z/]+" id="([^"]+)">(.*?)</script>', text, re.DOTALL))
    return json.loads(scripts["data"]), scripts


def _results(variants: dict[str, Any], **more: Any) -> Results:
    return Results(evaluate(variants, LANDMARKS, ("senior", "junior"), (2.0, 4.0), main="multi-step"), **more)


def test_page_holds_every_image_worst_first_with_truth_and_errors(tmp_path, variants) -> None:
    results = _results(variants)
    errors = results.evaluation.errors_to_mean["multi-step"]
    data, scripts = _page(tmp_path / "index.html", results)
    order = np.argsort(-np.nanmean(errors, 1))
    assert [image["name"] for image in data["images"]] == [f"image_{row}" for row in order]
    for row, image in zip(order, data["images"], strict=True):
        prediction = variants["multi-step"][row]
        residuals = (prediction.points - prediction.annotations) * [0.1, 0.2]
        known = errors[row][np.isfinite(errors[row])]
        assert image["mean"] == pytest.approx(known.mean(), abs=1e-3)
        assert image["within"] == pytest.approx(100 * (known < 2).mean(), abs=1e-3)
        assert image["worst"] == np.nanargmax(errors[row])
        assert (image["size"], image["spacing"], image["picture"]) == ([200, 260], [0.1, 0.2], "full")
        for index, landmark in enumerate(image["landmarks"]):
            if np.isnan(errors[row, index]):
                assert landmark["found"] is None and landmark["mean"] is None and landmark["people"] == [None, None]
                continue
            assert landmark["found"] == pytest.approx(errors[row, index], abs=1e-3)
            assert landmark["to"] == pytest.approx(np.linalg.norm(residuals[:, index], axis=-1), abs=1e-3)
            assert landmark["people"] == pytest.approx(prediction.annotations[:, index], abs=1e-3)
            assert landmark["mean"] == pytest.approx(prediction.annotations[:, index].mean(0), abs=1e-3)
    assert sum(key.startswith("picture-") for key in scripts) == 7
    assert (data["unit"], data["threshold"], data["within"]) == ("mm", 2.0, "< 2 mm")


def test_page_holds_the_tables_intervals_and_figures_of_the_report(tmp_path, variants) -> None:
    results = _results(variants, title="A test")
    (tmp_path / "a.png").write_bytes(b"a picture")
    data, _ = _page(tmp_path / "index.html", results, figures=[("A figure", tmp_path / "a.png")])
    first, landmarks, people = data["grids"]
    row = next(each for each in first["sections"][0] if each[0] == "multi-step")
    assert row == list(results.table.grid().sections[0][1]) and any("95 % interval" in note for note in first["notes"])
    assert [each[0] for each in landmarks["sections"][0]] == ["1 sella", "2 nasion", "3 menton"]
    assert people["title"] == "Annotators and spread"
    assert data["figures"] == [["A figure", base64.b64encode(b"a picture").decode()]]


def test_calibrated_regions_and_expected_errors_are_told(tmp_path, variants) -> None:
    covariance = np.tile(np.diag([16.0, 9.0]), (7, 3, 1, 1))
    for each in variants["multi-step"]:
        each.covariance = covariance[0]
    own, _ = _page(tmp_path / "own.html", _results(variants))
    assert own["images"][0]["landmarks"][0]["error_px"] == pytest.approx(4.43, abs=0.05)  # E|N(0, diag(16, 9))|
    assert own["images"][0]["landmarks"][0]["longer"] is None and "uncalibrated" in own["expected"]
    spreads = Spreads(covariance, np.full((7, 3), 7.0), 4 * covariance, 0.9)
    data, _ = _page(tmp_path / "index.html", _results(variants, spreads=spreads))
    landmark = data["images"][0]["landmarks"][0]
    assert (landmark["longer"], landmark["shorter"], landmark["error_px"]) == (8.0, 6.0, 7.0)
    assert data["images"][0]["level"] == 0.9 and data["expected"] == "calibrated"


@pytest.mark.parametrize("error", [UserError("image_3.png: found text"), OSError("no such disk")])
def test_image_that_cannot_be_read_keeps_its_numbers(tmp_path, variants, error) -> None:
    def image_of(image_id: str) -> np.ndarray:
        if image_id == "image_3":
            raise error
        return _image(image_id)

    data, _ = _page(tmp_path / "index.html", _results(variants), image_of)
    (gone,) = [each for each in data["images"] if each["picture"] == "none"]
    assert gone["name"] == "image_3" and str(error) in gone["notes"][0]
    assert gone["mean"] is not None and min(gone["size"]) > 100, "as large as its points need"


def test_without_images_or_spacing_the_page_has_numbers_in_px(tmp_path, variants) -> None:
    bare = {name: [replace(each, spacing=None) for each in found] for name, found in variants.items()}
    data, scripts = _page(tmp_path / "index.html", _results(bare), None)
    assert data["unit"] == "px" and set(scripts) == {"data"}
    assert all(image["spacing"] is None and image["mean"] > 0 for image in data["images"])


def test_only_the_worst_are_sharp_and_no_picture_goes_beyond_the_limit(tmp_path, variants, monkeypatch) -> None:
    _, scripts = _page(tmp_path / "index.html", _results(variants))
    one = max(len(content) for key, content in scripts.items() if key.startswith("picture-"))
    monkeypatch.setattr(report_page, "MOST", 3 * one)
    data, scripts = _page(tmp_path / "index.html", _results(variants))
    assert [image["picture"] for image in data["images"]] == ["full"] * 3 + ["none"] * 4
    assert sum(len(content) for key, content in scripts.items() if key.startswith("picture-")) <= 3 * one


def test_page_is_the_same_bytes_again(tmp_path, variants) -> None:
    first, second = (write_report_page(tmp_path / name, _results(variants), _image) for name in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
