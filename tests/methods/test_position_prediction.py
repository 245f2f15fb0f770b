"""What PositionDiffusionModule predicts: points that are repeatable, covariances, maps, any size and precision."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tests.methods.tiny_positions import H, N, W, batch, fresh, knowing, module, spots

RANDOM: dict[str, Any] = {"sampling.start_noise": 1.0, "sampling.eta": 1.0, "sampling.samples": 2}


@pytest.mark.parametrize("options", [{}, RANDOM])
def test_an_image_s_points_depend_neither_on_its_batch_nor_on_its_neighbours(options: dict[str, Any]) -> None:
    made = module(options)
    together = made.find(batch((0, 1, 2)))
    for index in range(3):
        alone = made.find(batch((index,)))
        for name, found in together.items():
            torch.testing.assert_close(alone[name].points[0], found.points[index], rtol=0, atol=1e-3)
    spread = together["multi-step"].covariance()
    assert spread is not None
    torch.testing.assert_close(made.find(batch((1,)))["multi-step"].covariance()[0], spread[1], rtol=1e-3, atol=1e-3)


def test_points_are_repeatable_and_follow_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(RANDOM)
    first = made.find(batch())["multi-step"]
    torch.manual_seed(99)
    again = made.find(batch())["multi-step"]
    assert torch.equal(first.points, again.points) and torch.equal(first.covariance(), again.covariance())
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert not torch.allclose(made.find(batch())["multi-step"].points, first.points, atol=1e-2)


def test_an_image_s_noise_is_its_own() -> None:
    made, b = module(RANDOM), batch((0, 0))
    b["index"] = torch.tensor([5, 5])
    same = made.find(b)["multi-step"].points
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-3)
    b["index"] = torch.tensor([5, 6])
    other = made.find(b)["multi-step"].points
    assert (other[0] - other[1]).abs().max() > 0.1


def test_without_noise_the_seed_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module()
    first = made.find(batch())["multi-step"].points
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert torch.equal(made.find(batch())["multi-step"].points, first)


def test_one_evaluation_is_the_baseline_alone() -> None:
    made = module({"sampling.steps": 1, "sampling.validation_steps": 1})
    made.window_network = None  # type: ignore[assignment]  # not even asked
    assert made.variants() == ("single-step",)
    assert set(made.find(batch())) == set(made.predict_maps(batch())) == {"single-step"}
    assert len(list(made.reverse_process(batch()))) == 1


def test_validation_within_fit_takes_its_own_number_of_evaluations() -> None:
    made = module({"sampling.validation_steps": 1, "sampling.steps": 3})
    assert made.variants(in_fit=True) == ("single-step",) and made.variants() == ("single-step", "multi-step")
    assert set(made.find(batch(), in_fit=True)) == {"single-step"} == set(made.predict_maps(batch(), in_fit=True))


@pytest.mark.parametrize("aggregate", ["last", "mean"])
def test_covariance_adds_the_chains_spread_to_what_each_leaves_open(aggregate: str) -> None:
    made, b = module({**RANDOM, "sampling.samples": 5, "sampling.aggregate": aggregate}), batch()
    with torch.no_grad():
        chains = [list(made._chain(made._look(b["image"]), b, 5, sample)) for sample in range(5)]
    ends = [estimate for chain in chains for *_, estimate in (chain[-1:] if aggregate == "last" else chain)]
    found = made.find(b)["multi-step"].covariance().double().numpy()
    within_pixels = np.mean([end.pixel**2 for end in ends]) / 12 * np.eye(2)
    steps = np.arange(16) - 7.5
    for image in range(2):
        for n in range(N):
            # every chain's window as weighted places: the covariance of them all is what a draw of y_0 has
            xs = np.concatenate([np.tile(end.pixel * steps, 16) + end.centres[image, n, 0].item() for end in ends])
            ys = np.concatenate([np.repeat(end.pixel * steps, 16) + end.centres[image, n, 1].item() for end in ends])
            weights = np.concatenate([end.probabilities[image, n].double().flatten().numpy() for end in ends])
            wanted = np.cov(np.stack((xs, ys)), aweights=weights, ddof=0) + within_pixels
            np.testing.assert_allclose(found[image, n], wanted, rtol=1e-3, atol=1e-3)
            assert np.array_equal(found[image, n], found[image, n].T)
            assert np.linalg.eigvalsh(found[image, n]).min() > 0


def test_a_noised_start_spreads_more() -> None:
    """Without evidence a chain stays where it starts: four starts, sigma 4 around the guess, beside one."""
    b = batch()
    lone = {"sampling.prior_weight": 0.0}
    one = fresh(lone).find(b)["multi-step"].covariance()
    many = fresh({**lone, "sampling.start_noise": 1.0, "sampling.samples": 4}).find(b)["multi-step"].covariance()
    assert (torch.linalg.eigvalsh(many - one) > -1e-4).all()
    between = (many - one).diagonal(dim1=-2, dim2=-1).mean().item()
    assert between == pytest.approx(4.0**2 * 3 / 4, rel=0.5)  # a variance over 4 of 12 points' coordinates


def test_maps_are_distributions_around_the_points() -> None:
    made, b = fresh({"sampling.aggregate": "last", "sampling.prior_weight": 0.3}), batch()
    maps, found = made.predict_maps(b), made.find(b)
    ys, xs = torch.arange(H).float(), torch.arange(W).float()
    for value in maps.values():
        assert value.shape == (2, N, H, W) and value.min() >= 0
    torch.testing.assert_close(maps["single-step"].sum((-2, -1)), torch.ones(2, N))
    inside = ((found["multi-step"].points - torch.tensor([W / 2, H / 2])).abs() < torch.tensor([W, H]) / 2 - 6).all(-1)
    mass = maps["multi-step"].sum((-2, -1))
    assert (mass <= 1 + 1e-4).all() and torch.allclose(mass[inside], torch.ones(int(inside.sum())), atol=1e-4)
    centroid = torch.stack(((maps["multi-step"].sum(-2) * xs).sum(-1), (maps["multi-step"].sum(-1) * ys).sum(-1)), -1)
    torch.testing.assert_close(centroid[inside], found["multi-step"].points[inside], rtol=0, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_the_reverse_process_has_as_many_steps_as_evaluations(count: int) -> None:
    made, b = module(), batch((0,))
    steps = list(made.reverse_process(b, count))
    assert len(steps) == count and steps[0].t == 49
    assert all(later.t <= earlier.t for earlier, later in pairwise(steps))
    if count == 5:
        assert all(later.t < earlier.t for earlier, later in pairwise(steps))
    for step in steps:
        assert step.x_t.shape == step.x0.shape == step.probability.shape == (1, N, H, W)
        assert torch.isfinite(step.x_t).all() and step.x0.min() >= 0 and step.x0.max() <= 1
    assert torch.equal(steps[0].probability, made.predict_maps(b)["single-step"])
    if count == 5:  # as many as sampling.steps
        assert torch.equal(steps[-1].probability, made.predict_maps(b)["multi-step"])


@pytest.mark.parametrize("size", [(H, W), (81, 67), (50, 30)])
def test_any_size_is_predicted_within_it(size: tuple[int, int]) -> None:
    """Sides that are no multiple of the coarse factor, of the window's patches or of the pyramid."""
    b = {"image": torch.rand(1, 1, *size), "index": torch.tensor([0])}
    made = module()
    for value in made.predict_maps(b).values():
        assert value.shape == (1, N, *size) and torch.isfinite(value).all()
    with torch.no_grad():
        coarse, large = made._look(b["image"]).maps[0], made.predict_maps(b)["single-step"][0]
    repeated = coarse[:, torch.arange(size[0])[:, None] // 4, torch.arange(size[1]) // 4]
    torch.testing.assert_close(large, repeated / repeated.sum((-2, -1), keepdim=True))
    guess = made.find(b)["single-step"].points
    assert (guess >= -0.5).all() and (guess <= torch.tensor([size[1], size[0]]) + 1).all()


def test_points_under_bfloat16_differ_by_at_most_a_tenth_of_a_pixel() -> None:
    """With evidence and a first guess that are the same, the arithmetic behind them has to be precise."""
    points = torch.tensor([[[30.0, 27.3], [100.4, 31.0], [70.6, 62.2]]])
    made, b = knowing(points), {"image": spots(points), "index": torch.tensor([0])}
    exact = made.find(b)["multi-step"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made.find(b)["multi-step"]
    assert (exact.points - rounded.points).abs().max() <= 0.1
    assert exact.covariance() is not None and rounded.covariance() is not None
    torch.testing.assert_close(rounded.covariance(), exact.covariance(), rtol=0.02, atol=0.02)


def test_losses_stay_finite_under_bfloat16() -> None:
    made = module()
    torch.manual_seed(1)
    exact = made.losses(batch())
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        rounded = made.losses(batch())
    for name, value in exact.items():
        assert rounded[name].dtype == torch.float32
        assert rounded[name].item() == pytest.approx(value.item(), rel=0.02)


def test_double_precision_works_as_in_the_other_methods() -> None:
    """``trainer.precision: 64-true`` makes weights, images and points double."""
    made, b = module(), batch()
    single = made.find(b)["multi-step"].points
    made = made.double()
    b = {name: value.double() if value.is_floating_point() else value for name, value in b.items()}
    torch.testing.assert_close(made.find(b)["multi-step"].points.float(), single, rtol=0, atol=1e-2)
    losses = made.losses(b)
    losses["loss"].backward()
    assert torch.isfinite(losses["loss"])
