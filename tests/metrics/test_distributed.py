"""The same numbers on any number of processes: real ones, with gloo."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing

from tests.metrics.reference import Cases, make_cases, reference_errors, reference_summary
from tests.metrics.workers import work

TWO = ("five", "one_without_samples", "collection_without_samples", "unindexed", "mixed_units")
THREE = ("five", "one", "one_without_samples")


def run(world: int, folder: Path, scenarios: tuple[str, ...]) -> list[dict[str, Any]]:
    torch.multiprocessing.spawn(work, (world, str(folder), scenarios), nprocs=world)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(world)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run(2, tmp_path_factory.mktemp("two"), TWO)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run(3, tmp_path_factory.mktemp("three"), THREE)


def check(results: list[dict[str, Any]], scenario: str, cases: Cases) -> None:
    expected = reference_summary(cases)
    for values in (result[scenario] for result in results):
        assert values["mre"].item() == pytest.approx(expected["mre"], rel=1e-12)
        assert values["std"].item() == pytest.approx(expected["std"], rel=1e-12)
        if "sdr" in values:
            assert {r: v.item() for r, v in values["sdr"].items()} == pytest.approx(expected["sdr"], rel=1e-12)
            np.testing.assert_allclose(values["landmarks"], expected["landmarks"], rtol=1e-12)
        assert values.get("again", values["mre"]).item() == values["mre"].item()


def test_five_samples_on_two_processes_count_five(two: list[dict[str, Any]]) -> None:
    assert [len(result["five"]["places"]) for result in two] == [3, 3]  # one is there twice
    check(two, "five", make_cases(5))


@pytest.mark.slow
def test_two_and_three_processes_agree_to_the_last_bit(two: list[dict[str, Any]], three: list[dict[str, Any]]) -> None:
    values = {result["five"][name].item() for result in two + three for name in ("mre", "std")}
    assert len(values) == 2


@pytest.mark.slow
def test_one_sample_on_three_processes_counts_one(three: list[dict[str, Any]]) -> None:
    assert [result["one"]["places"] for result in three] == [[0], [0], [0]]
    check(three, "one", make_cases(1))


def test_a_process_without_samples_neither_hangs_nor_changes_anything(two: list[dict[str, Any]]) -> None:
    check(two, "one_without_samples", make_cases(1))
    check(two, "collection_without_samples", make_cases(1))


@pytest.mark.slow
def test_a_process_of_three_without_samples_changes_nothing(three: list[dict[str, Any]]) -> None:
    check(three, "one_without_samples", make_cases(2))


def test_without_index_every_sample_counts(two: list[dict[str, Any]]) -> None:
    first, second = ([e for e in row if not math.isnan(e)] for row in reference_errors(make_cases(2)))
    points = first + first + second
    for result in two:
        assert result["unindexed"]["mre"].item() == pytest.approx(math.fsum(points) / len(points), rel=1e-12)


def test_units_mixed_between_processes_are_an_error_on_all(two: list[dict[str, Any]]) -> None:
    for result in two:
        assert "cannot be averaged" in result["mixed_units"]["error"]
