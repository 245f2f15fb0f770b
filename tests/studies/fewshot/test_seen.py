"""A start of a few-shot grid says which of the measured images it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from landmark_diffusion.cli import fewshot_verb, main
from landmark_diffusion.modelfile.facts import ModelFacts
from landmark_diffusion.modelfile.model_file import write_model_file
from landmark_diffusion.studies.fewshot.manifest import read_manifest
from landmark_diffusion.studies.fewshot.seen import seen_by_start, seen_in_words
from landmark_diffusion.studies.trainings import runner
from tests.studies.fewshot.grid import FAKE, write_config

PARTS = {"train": ["a", "b", "c"], "val": ["d"], "test": ["e", "f"]}


class Splits:
    """A data set whose split "wide" trains on what the others measure."""

    def __init__(self, split: str | None) -> None:
        self.ids = {"wide": "abcde", "narrow": "abc", None: "ab"}[split]

    def samples(self, stage: str) -> list[Any]:
        """Those that train."""
        assert stage == "train"
        return [type("Sample", (), {"image_id": name}) for name in self.ids]


def model(path: Path, **training: object) -> str:
    """A model file that says this of its training."""
    facts = ModelFacts("HeatmapFinetuneModule", {"num_landmarks": 1}, ("a",), {}, updates=7, training=training)
    return str(write_model_file(path, facts, {"network.head.weight": torch.zeros(1)}))


@pytest.mark.parametrize(
    ("training", "seen"),
    [
        ({"dataset": "mine", "split": "wide"}, {"train": 3, "val": 1, "test": 1}),
        ({"dataset": "mine", "split": "narrow"}, {"train": 3}),
        ({"dataset": "mine"}, {"train": 2}),
        ({"dataset": "other", "split": "wide"}, {}),
        ({"adapted": {"start_dataset": "mine", "start_split": "wide"}}, {"train": 3, "val": 1, "test": 1}),
        ({}, {}),
    ],
)
def test_what_a_model_file_has_learned_is_counted(tmp_path: Path, training: Any, seen: dict[str, int]) -> None:
    assert seen_by_start(model(tmp_path / "x.ldx", **training), "mine", Splits, PARTS) == seen  # type: ignore[arg-type]


def test_no_start_and_a_checkpoint_say_nothing() -> None:
    assert seen_by_start(None, "mine", Splits, PARTS) == {}  # type: ignore[arg-type]
    assert seen_by_start("runs/x/last.ckpt", "mine", Splits, PARTS) == {}  # type: ignore[arg-type]


def test_only_measured_parts_are_told() -> None:
    start = {"seen": {"train": 3, "val": 1}}
    assert seen_in_words(start, {"train": 3, "val": 1, "test": 2}, ["test", "val"]) == "1 of 1 val images"
    assert seen_in_words({}, {}, ["test"]) == ""


def test_a_start_that_knows_the_measured_images_is_warned_of_and_named_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(runner, "CHILD", FAKE)
    monkeypatch.setattr(fewshot_verb, "check_before", lambda plan, manifest: None)
    path = model(tmp_path / "x.ldx", dataset="phantom")
    config = write_config(tmp_path, draws=1, starts={"known": {"model.pretrained": path}}, stage="val")
    monkeypatch.setattr(fewshot_verb, "seen_by_start", lambda *_: {"val": 5})  # a phantom has one split
    assert main(["fewshot", "--config", str(config)]) == 0
    assert "was trained on 5 of 5 val images, which are measured here" in capfd.readouterr().err
    assert "trained on 5 of 5 val images: its errors are too small" in (tmp_path / "grid/summary.md").read_text()
    manifest = read_manifest(tmp_path / "grid")
    assert manifest is not None and manifest["starts"]["known"]["seen"] == {"val": 5}
