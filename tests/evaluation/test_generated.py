"""Generated against training images: closed forms of each number, and pictures that show what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import wasserstein_distance

from landmark_diffusion.data.sources import build_dataset
from landmark_diffusion.evaluation.generated import (
    BINS,
    grey_levels,
    histogram,
    histogram_distance,
    nearest_training,
    power_spectrum,
    reference_parts,
    sample_statistics,
    spectrum_distance,
    training_nearest_distances,
)
from landmark_diffusion.evaluation.generated_figures import samples_figure, statistics_figure
from landmark_diffusion.pictures.figures import BAD


@pytest.fixture(scope="module")
def phantoms() -> np.ndarray:
    """36 radiographs (H, W) = (60, 48) uint8."""
    source = build_dataset("phantom", count=(36, 0, 0), image_size=(48, 60))
    return np.stack([source.load_image(sample) for sample in source.samples("train")])


def noise(count: int, seed: int, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (count, *size))


# ---- nearest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_nearest_training_by_brute_force(chunk: int) -> None:
    made, real = noise(5, 0), noise(7, 1)
    index, distance = nearest_training(made, real, chunk)
    a, b = np.rint(255 * made), np.rint(255 * real)
    wanted = np.sqrt(((a[:, None] - b[None]) ** 2).mean((2, 3)))
    assert index.tolist() == wanted.argmin(1).tolist()
    np.testing.assert_allclose(distance, wanted.min(1), rtol=1e-12)


def test_a_training_image_is_not_its_own_nearest() -> None:
    real = np.array([0, 10, 40, 45], np.uint8)[:, None, None] * np.ones((1, 6, 5), np.uint8)
    assert training_nearest_distances(real).tolist() == [10, 10, 5, 5]
    assert np.isnan(training_nearest_distances(real[:1])).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_exact_copy_has_distance_zero_and_is_counted(phantoms: np.ndarray, dtype: type) -> None:
    made = np.concatenate([phantoms[20:21], phantoms[9:10], 255 - phantoms[:2]])
    index, distance = nearest_training(made if dtype == np.uint8 else (made / 255).astype(dtype), phantoms[:12])
    assert index[1] == 9 and distance[1] == 0 and (distance[[0, 2, 3]] > 0).all()
    found = sample_statistics(made, phantoms[:12])
    assert (found.copies, found.nearest_min) == (1, 0)


def test_a_copy_of_one_of_two_equal_training_images_is_counted(phantoms: np.ndarray) -> None:
    twice = np.concatenate([phantoms[:5], phantoms[:1]])
    assert sample_statistics(phantoms[[0, 9]], twice).copies == 1


def test_images_of_another_size_are_refused() -> None:
    for made, real in ((noise(2, 0), noise(2, 0, (20, 20))), (noise(0, 0), noise(2, 0)), (noise(1, 0)[0], noise(1, 0))):
        with pytest.raises(ValueError, match=r"found images \("):
            nearest_training(made, real)


def test_grey_levels_round_and_clip() -> None:
    found = grey_levels(np.array([-0.1, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.7, np.nan]))
    assert found.tolist() == [0, 0, 0, 1, 255, 255, 0] and found.dtype == np.uint8


# ---- curves -------------------------------------------------------------------------------------------------------


def test_shifted_histograms_are_their_shift_apart() -> None:
    ramp = np.tile(np.arange(40, 168, dtype=np.uint8), (2, 4, 1))
    for shift in (0, 4, 60):
        assert histogram_distance(histogram(ramp), histogram(ramp + np.uint8(shift))) == pytest.approx(shift, abs=1e-9)


def test_histogram_distance_agrees_with_scipy() -> None:
    a, b = histogram(noise(3, 0) ** 2), histogram(noise(3, 1))
    centres = (np.arange(BINS) + 0.5) * 256 / BINS
    assert histogram_distance(a, b) == pytest.approx(wasserstein_distance(centres, centres, a, b), rel=1e-9)
    assert a.sum() == pytest.approx(1)


def test_each_bin_holds_as_many_grey_levels() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.allclose(histogram(every), 1 / BINS)


def test_white_noise_has_a_flat_spectrum_of_its_variance() -> None:
    images = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((60, 48, 64))
    frequency, power = power_spectrum(images)
    assert frequency[[0, -1]].tolist() == [1 / 48, 0.5]
    wanted = (0.1 * 255) ** 2 + 1 / 12  # and the noise of rounding
    # under the window ring k holds about k independent values an image: the mean of 60 scatters by 1 / sqrt(60 k)
    np.testing.assert_allclose(power[2:], wanted, rtol=0.25)
    assert power[5:].mean() == pytest.approx(wanted, rel=0.03)


@pytest.mark.parametrize(("across", "down"), [(12, 0), (0, 12), (8, 8)])
def test_a_sinusoid_peaks_at_its_frequency(across: int, down: int) -> None:
    y, x = np.mgrid[:64, :64]
    image = 0.5 + 0.4 * np.sin(2 * np.pi * (across * x + down * y) / 64)
    frequency, power = power_spectrum(image[None])
    assert frequency[power.argmax()] == pytest.approx(np.hypot(across, down) / 64, abs=0.5 / 64)
    away = np.abs(frequency - np.hypot(across, down) / 64) > 3 / 64
    assert power[away].max() < 1e-3 * power.max()  # the window's side lobes


def test_a_constant_image_has_no_power_and_a_ramp_s_edge_does_not_ring() -> None:
    assert power_spectrum(np.full((1, 32, 40), 0.7))[1].max() < 1e-20
    frequency, power = power_spectrum(np.tile(np.linspace(0, 1, 64), (1, 64, 1)))
    assert power[frequency > 0.2].max() < 2 / 12  # a jump from 255 to 0 would have far more than rounding noise


def test_spectrum_distance_of_scaled_noise() -> None:
    power = np.array([1e4, 1e2, 50.0])
    assert spectrum_distance(power, 100 * power) == pytest.approx(2)
    assert spectrum_distance(power, power * [1, 1, 10]) == pytest.approx(np.sqrt(1 / 3))
    assert spectrum_distance(np.zeros(3), np.full(3, 1e-30)) == 0


# ---- statistics ---------------------------------------------------------------------------------------------------


def test_images_of_the_same_kind_are_as_near_as_the_reference(phantoms: np.ndarray) -> None:
    found = sample_statistics(phantoms[:12], phantoms[12:])
    assert found.reference is not None
    assert found.histogram_distance < 2 * found.reference.histogram_distance
    assert found.spectrum_distance < 2 * found.reference.spectrum_distance
    assert found.nearest_median == pytest.approx(found.reference.nearest_median, rel=0.15)
    assert found.nearest_ratio == pytest.approx(1, abs=0.2) and found.copies <= 2


def test_darker_blurred_and_copied_images_are_told_apart(phantoms: np.ndarray) -> None:
    made, real = phantoms[:12] / 255, phantoms[12:]
    good = sample_statistics(made, real)
    blurred = sample_statistics((made + np.roll(made, 1, 1) + np.roll(made, 1, 2)) / 3, real)
    assert blurred.spectrum_distance > 5 * good.spectrum_distance
    darker = sample_statistics(np.clip(made - 0.1, 0, 1), real)
    assert darker.histogram_distance == pytest.approx(25.5, abs=3)
    copied = sample_statistics(np.clip(real[:6] / 255 + 0.01, 0, 1), real)
    assert copied.copies == 6 and copied.nearest_ratio < 0.3


def test_the_reference_holds_out_as_many_images_as_were_generated() -> None:
    for generated, training, held in ((8, 100, 8), (80, 100, 50), (4, 3, 1)):
        for part, others in reference_parts(generated, training, seed=0):
            assert len(part) == held and sorted([*part, *others]) == list(range(training))
    assert reference_parts(4, 1, seed=0) == []


def test_statistics_are_the_same_again_and_have_a_number_for_each_column(phantoms: np.ndarray) -> None:
    found = sample_statistics(phantoms[:4], phantoms[4:12]).as_dict()
    assert found == sample_statistics(phantoms[:4], phantoms[4:12]).as_dict()
    assert found != sample_statistics(phantoms[:4], phantoms[4:12], seed=1).as_dict()
    alone = sample_statistics(phantoms[:4], phantoms[4:5]).as_dict()
    assert list(alone) == list(found)
    assert np.isnan(alone["reference_nearest_min"]) and np.isnan(alone["nearest_ratio"]) and alone["copies"] == 0


# ---- pictures -----------------------------------------------------------------------------------------------------


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _reddish(pixels: np.ndarray) -> int:
    wanted = [int(BAD[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted) < 40).all(-1).sum())


def test_samples_figure_marks_copies_alone(tmp_path: Path, phantoms: np.ndarray) -> None:
    fine = _pixels(samples_figure(tmp_path / "a.png", 255 - phantoms[:5], phantoms, updates=4000, columns=2))
    copied = _pixels(samples_figure(tmp_path / "b.png", phantoms[:5], phantoms, updates=4000, columns=2))
    assert _reddish(fine) == 0 and _reddish(copied) > 50
    assert fine.shape == copied.shape and fine.shape[0] > 3 * 220


def test_samples_figure_shows_the_nearest_image_beside_the_generated_one(tmp_path: Path) -> None:
    """Flat grey levels: 100 beside 110, which is nearer than 60."""
    flat = np.array([60, 110, 250], np.uint8)[:, None, None] * np.ones((1, 10, 8), np.uint8)
    picture = _pixels(samples_figure(tmp_path / "a.png", flat[:1] + np.uint8(40), flat, height=100))
    columns = {level: np.nonzero((picture == level).all(-1).sum(0) > 90)[0] for level in (100, 110, 60)}
    assert len(columns[100]) >= 78 and len(columns[110]) >= 78 and not len(columns[60])
    assert columns[100].max() < columns[110].min()


@pytest.mark.parametrize("count", [1, 7])
def test_statistics_figure_is_drawn_for_any_number_of_images(tmp_path: Path, phantoms: np.ndarray, count: int) -> None:
    path = statistics_figure(tmp_path / "sub" / "a.png", phantoms[-3:] / 255, phantoms[:count], updates=10)
    assert _pixels(path).shape == (470, 1080, 3)
