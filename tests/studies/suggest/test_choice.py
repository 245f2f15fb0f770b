"""The greedy choice against brute force, and what never comes back."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from landmark_diffusion.studies.suggest.choice import choose, distances


def random_points(count: int, seed: int, width: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


def worth(distance: np.ndarray, places: tuple[int, ...], weights: np.ndarray) -> float:
    """What a choice is worth, term by term: how much nearer each image has come, from the largest distance of all."""
    total = 0.0
    for image in range(distance.shape[1]):
        nearest = min([distance.max(), *(distance[place, image] for place in places)])
        total += weights[image] * (distance.max() - nearest)
    return total


def test_distances_are_those_of_each_pair() -> None:
    first, second = random_points(4, 0), random_points(5, 1)
    expected = [[np.sqrt(sum((a - b) ** 2)) for b in second] for a in first]
    assert np.allclose(distances(first, second), expected)
    twice = np.repeat(1e4 + random_points(3, 2), 2, axis=0)
    assert (distances(twice, twice)[::2, 1::2].diagonal() == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_each_cluster_has_its_representative(seed: int) -> None:
    """One of each; and beside the best three by brute force over all fours, the fourth of these."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [100, 0], [0, 100], [100, 100]])
    points = np.concatenate([centre + rng.normal(size=(7, 2)) for centre in centres])
    distance = distances(points, points)
    assert {each.place // 7 for each in choose(distance, 4)} == {0, 1, 2, 3}
    fours = product(range(7), range(7, 14), range(14, 21), range(21, 28))
    best = min(fours, key=lambda places: distance[list(places)].min(0).sum())
    for place in best:
        assert [each.place for each in choose(distance, 1, labelled=[p for p in best if p != place])] == [place]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_greedy_is_near_the_best_of_all(seed: int, count: int) -> None:
    points = random_points(11, seed, 2)
    weights = np.random.default_rng(seed + 100).uniform(0, 3, 11)
    distance = distances(points, points)
    best = max(worth(distance, places, weights) for places in combinations(range(11), count))
    places = tuple(each.place for each in choose(distance, count, weights))
    found = worth(distance, places, weights)
    assert (1 - 1 / np.e) * best <= found <= best + 1e-9
    if count == 1:
        assert found == pytest.approx(best)


@pytest.mark.parametrize("seed", range(4))
def test_each_step_takes_what_gains_most_and_later_ones_gain_less(seed: int) -> None:
    distance = distances(*[random_points(12, seed)] * 2)
    weights = np.ones(12)
    chosen = choose(distance, 6)
    taken: tuple[int, ...] = ()
    for each in chosen:
        before = worth(distance, taken, weights)
        gains = {p: worth(distance, (*taken, p), weights) - before for p in range(12) if p not in taken}
        assert gains[each.place] == pytest.approx(max(gains.values()))
        assert each.gain == pytest.approx(gains[each.place] / (12 * distance.max()))
        nearest = distance[list(taken)].min(0) if taken else np.full(12, distance.max())
        assert each.near.tolist() == [bool(distance[each.place, p] < nearest[p]) for p in range(12)]
        taken += (each.place,)
    gains_in_order = [each.gain for each in chosen]
    assert gains_in_order == sorted(gains_in_order, reverse=True)


def test_the_first_of_a_longer_list_are_the_shorter_list() -> None:
    distance = distances(*[random_points(20, 7)] * 2)
    longer = [each.place for each in choose(distance, 12)]
    assert [each.place for each in choose(distance, 5)] == longer[:5]


def test_a_whole_weight_is_as_many_images() -> None:
    points, times = random_points(9, 8), np.array([1, 3, 2, 1, 1, 4, 1, 2, 1])
    weighted = choose(distances(points, points), 4, times.astype(float))
    repeated = choose(distances(points, np.repeat(points, times, axis=0)), 4)
    assert [each.place for each in weighted] == [each.place for each in repeated]
    assert [each.gain for each in weighted] == pytest.approx([each.gain for each in repeated])


def test_of_equally_good_images_the_first_is_taken() -> None:
    square = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert [each.place for each in choose(distances(square, square), 4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("labelled", [[], [2], [0, 5, 9]])
def test_labelled_images_and_copies_never_come_back(labelled: list[int]) -> None:
    points = random_points(10, 9)
    twice = np.concatenate([points, points])
    chosen = [each.place for each in choose(distances(twice, twice), 20, labelled=labelled)]
    assert len(chosen) == 10 - len(labelled)
    assert len({place % 10 for place in chosen}) == len(chosen)
    assert not {place % 10 for place in chosen} & set(labelled)


def test_labelled_images_cover_their_neighbours() -> None:
    """Two clusters, the larger of which has a label: the next one comes from the other."""
    points = np.concatenate([np.zeros((9, 1)) + np.linspace(0, 1, 9)[:, None], np.array([[50.0], [51.0], [52.0]])])
    distance = distances(points, points)
    assert choose(distance, 1)[0].place < 9
    assert choose(distance, 1, labelled=[4])[0].place == 10


def test_images_all_alike_and_few_of_them() -> None:
    alike = np.zeros((5, 5))
    assert [each.place for each in choose(alike, 3)] == [0]
    assert choose(alike, 3, labelled=[1]) == []
    assert [each.place for each in choose(np.zeros((1, 1)), 3)] == [0]
    assert choose(np.zeros((1, 1)), 3, labelled=[0]) == []
