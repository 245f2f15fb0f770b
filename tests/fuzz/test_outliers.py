"""Doubts about points: whatever points there are, doubts come back, and only about points that are there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from landmark_diffusion.data.checks.outliers import find_outliers
from landmark_diffusion.data.sample import LandmarkSample
from tests.fuzz.harness import inputs, judge


@st.composite
def sets_of_points(draw: st.DrawFn) -> np.ndarray:
    """(I, A, N, 2): scattered, equal, on a line or denormal points, with some of them, or whole landmarks, missing."""
    shape = (draw(st.integers(0, 45)), draw(st.integers(1, 2)), draw(st.integers(0, 5)), 2)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    points = rng.uniform(0, 60, shape)
    what = draw(st.sampled_from(("scattered", "equal", "line", "denormal", "grid", "swapped")))
    if what == "equal":
        points[:] = 7.0
    elif what == "line":
        points[..., 1] = points[..., 0]
    elif what == "denormal":
        points *= 5e-324 / 60
    elif what == "grid":
        points = np.rint(points / 30) * 30
    elif what == "swapped" and shape[0] and shape[2] > 1:
        points[0, :, :2] = points[0, :, 1::-1]
    points[rng.random(shape[:3]) < draw(st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)))] = np.nan
    if shape[2] and draw(st.booleans()):
        points[:, :, draw(st.integers(0, shape[2] - 1))] = np.nan
    return points


@inputs(40, 700)
@given(points=sets_of_points(), sizes=st.lists(st.sampled_from((1, 60, 6000)), min_size=2, max_size=2))
def test_any_points_can_be_doubted(points: np.ndarray, sizes: list[int]) -> None:
    samples = [LandmarkSample(str(i), (sizes[i % 2], 60), each) for i, each in enumerate(points)]
    found = judge("doubts about points", lambda: find_outliers(samples))
    assert found is not None
    for doubt in found:
        assert np.isfinite(points[doubt.sample, doubt.annotator, doubt.landmark]).all()
        assert np.isfinite(doubt.distance) and doubt.distance > doubt.usual > 0
