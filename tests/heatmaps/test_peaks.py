"""The highest places of maps: against a plain search, and by hand."""

from __future__ import annotations

import numpy as np
import torch

from landmark_diffusion.heatmaps.peaks import APART, LEAST, REACH, find_peaks


def plain_search(values: np.ndarray, count: int) -> list[tuple[float, float, float]]:
    """(x, y, mass) of the local maxima of (H, W), the highest first."""
    height, width = values.shape
    found = []
    for y in range(height):
        for x in range(width):
            if values[y, x] == values[max(0, y - APART) : y + APART + 1, max(0, x - APART) : x + APART + 1].max():
                rows, columns = (
                    np.arange(max(0, at - REACH), min(end, at + REACH + 1)) for at, end in ((y, height), (x, width))
                )
                window = values[np.ix_(rows, columns)]
                mass = window.sum()
                centre = (window.sum(0) @ columns / mass, window.sum(1) @ rows / mass)
                found.append((values[y, x], *centre, mass))
    return [each[1:] for each in sorted(found, reverse=True)[:count]]


def test_the_highest_local_maxima_with_their_centroids_and_masses():
    maps = torch.from_numpy(np.random.default_rng(0).random((2, 3, 30, 22)))
    places, masses = find_peaks(maps, 5)
    assert places.shape == (2, 3, 5, 2)
    for image in range(2):
        for landmark in range(3):
            expected = plain_search(maps[image, landmark].numpy(), 5)
            found = np.column_stack([places[image, landmark], masses[image, landmark]])
            assert np.allclose(found, expected, atol=1e-5)


def test_a_map_with_one_peak_fills_up_with_places_of_no_mass():
    maps = torch.zeros(1, 1, 20, 20)
    maps[0, 0, 4, 6], maps[0, 0, 4, 7] = 0.75, 0.25
    places, masses = find_peaks(maps, 3)
    assert places[0, 0, 0].tolist() == [6.25, 4.0]
    assert masses[0, 0].tolist() == [1.0, LEAST, LEAST]
    assert torch.isfinite(places).all()


def test_no_more_peaks_than_there_is_room_for():
    assert find_peaks(torch.rand(1, 2, 5, 9), 16)[1].shape == (1, 2, 6)
    assert find_peaks(torch.rand(1, 2, 2, 3), 16)[1].shape == (1, 2, 1)
