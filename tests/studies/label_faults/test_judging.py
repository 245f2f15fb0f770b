"""Faults are found and named, the innocent are not: neither where the labels are right, nor where the model errs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landmark_diffusion.data.forms import BY_NAME, Form
from landmark_diffusion.studies.label_faults.judging import Judgement, judge_labels
from landmark_diffusion.studies.label_faults.material import ORIENTATIONS, LabelMaterial, TurnedLooks
from landmark_diffusion.studies.label_faults.slips import Witness, log_free_place, slip_evidence
from landmark_diffusion.studies.label_faults.usual import UsualResidual
from tests.studies.label_faults.made import SIZE, material, no_looks


def judged(made: LabelMaterial) -> Judgement:
    return judge_labels(made, no_looks())


def found(judgement: Judgement) -> list[tuple[object, ...]]:
    return [(each.kind, each.image, each.landmarks) for each in judgement.faults]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("covariance", [True, False])
def test_good_labels_are_left_in_peace(seed: int, covariance: bool) -> None:
    assert found(judged(material(seed=seed, covariance=covariance))) == []


def test_one_witness_is_the_closed_form() -> None:
    """p(d) / t(d), where d is the residual itself: the peak's place and width cancel the density at zero."""
    residuals = np.array([[[30.0, -40.0]], [[0.5, 0.0]]])
    usual = UsualResidual(np.zeros((1, 2)), np.array([4.0]), np.ones(1), np.zeros(1), 4.0, np.eye(2)[None])
    ratio, slip = slip_evidence([Witness("model", residuals, None, usual)])
    expected = -log_free_place(np.array(50.0)) - usual.log_density(residuals, None)[0, 0]
    assert ratio[0, 0] == pytest.approx(expected, rel=1e-6) and slip[0, 0].tolist() == pytest.approx([30, -40])
    assert ratio[1, 0] < 0


def test_a_doubtful_witness_alone_is_the_closed_form() -> None:
    """p(d) m(0) / m(d) times the peak's width with m the mean of t and p: far off, what p(d) costs is what m(d) is."""
    residuals, doubtful = np.array([[[300.0, -400.0]], [[300.0, -400.0]]]), np.array([[True], [False]])
    usual = UsualResidual(np.zeros((1, 2)), np.array([4.0]), np.ones(1), np.zeros(1), 20.0, np.eye(2)[None])
    witness = Witness("model", residuals, None, usual, doubtful)
    least = 2 * np.sqrt(20 * (2 ** (2 / 20) - 1))
    peak = 1 / (2 * np.pi * 4) + 1 / (2 * np.pi * least**2 * np.log(100))
    ratio, slip = slip_evidence([witness])
    assert ratio[0, 0] == pytest.approx(np.log(peak * 2 * np.pi * 4), abs=1e-3) and ratio[0, 0] < 1
    assert slip[0, 0].tolist() == pytest.approx([300, -400])
    assert ratio[1, 0] == slip_evidence([replace(witness, doubtful=None)])[0][1, 0] > 50


def test_a_point_that_the_model_doubts_accuses_no_label() -> None:
    """Of two landmarks there is no other evidence than the model."""
    made = material(count=200, seed=12)
    two = {name: getattr(made, name)[:, :2] for name in ("points", "covariance", "doubtful")}
    made = replace(made, labels=made.labels[:, :, :2], landmarks=made.landmarks[:2], **two)
    made.points[3, 1] += (400, -300)
    assert found(judged(made)) == [("slipped", 3, (1,))]
    made.doubtful[3, 1] = True
    assert found(judged(made)) == []


def test_a_slip_is_found_where_the_model_doubts_its_point() -> None:
    made = material(seed=3)
    made.labels[14, 0, 2] += (160, -120)
    made.doubtful[14, 2] = True
    assert found(judged(made)) == [("slipped", 14, (2,))]


def test_each_fault_is_named() -> None:
    made = material(seed=3)
    labels = made.labels
    labels[5, 0, [1, 6]] = labels[5, 0, [6, 1]]
    labels[9, 0] = labels[30, 0] + 1
    labels[14, 0, 2] += (60, -45)
    labels[20, 0] = BY_NAME["mirrored"].apply_points(labels[20, 0], SIZE)
    labels[26, 0] += (90, 60)
    judgement = judged(made)
    assert {each[:2] for each in found(judgement)} == {
        ("exchanged", 5), ("other image", 9), ("slipped", 14), ("labels turned", 20), ("moved", 26)
    }  # fmt: skip
    by_image = {each.image: each for each in judgement.faults}
    assert by_image[5].landmarks == (1, 6) and by_image[14].landmarks == (2,)
    assert by_image[9].other == 30 and by_image[20].orientation == "mirrored"
    assert by_image[14].distance == pytest.approx(75 * 0.5, abs=8)  # mm, of 0.5 mm a pixel
    scores = [each.score for each in judgement.faults]
    assert scores == sorted(scores, reverse=True) and judgement.faults[-1].image == 14


@pytest.mark.parametrize("form", ORIENTATIONS, ids=lambda form: form.name)
def test_an_image_that_lies_turned(form: Form) -> None:
    """As image 322 in a copy of ISBI 2015: the pixels mirrored, the labels not; what the model finds is rubbish."""
    made = material(seed=4)
    right, rng = made.points[7].copy(), np.random.default_rng(0)
    made.points[7] = rng.uniform(0, 600, (8, 2))
    if form.is_turned:
        made.sizes[7] = SIZE[::-1]

    def look(image: int) -> TurnedLooks:
        looks = no_looks()(image)
        if image == 7:
            looks.points[ORIENTATIONS.index(form)] = right
        return looks

    (fault,) = judge_labels(made, look).faults
    assert (fault.kind, fault.image, fault.orientation) == ("image turned", 7, form.name)


def test_image_and_labels_turned_together_are_no_fault() -> None:
    made = material(seed=4)
    right = made.points[7].copy()
    made.labels[7, 0] = BY_NAME["mirrored"].apply_points(made.labels[7, 0], SIZE)
    made.points[7] = np.random.default_rng(0).uniform(0, 600, (8, 2))

    def look(image: int) -> TurnedLooks:
        looks = no_looks()(image)
        if image == 7:
            looks.points[ORIENTATIONS.index(BY_NAME["mirrored"])] = right
        return looks

    judgement = judge_labels(made, look)
    assert judgement.faults == () and [each.image for each in judgement.turned] == [7]


def test_labels_turned_by_a_quarter_lie_in_a_turned_frame() -> None:
    made = material(seed=5)
    made.labels[3, 0] = BY_NAME["turned left"].undo_points(made.labels[3, 0], SIZE)
    (fault,) = judged(made).faults
    assert (fault.kind, fault.image, fault.orientation) == ("labels turned", 3, "turned right")


def test_a_row_of_no_image_here() -> None:
    made, other = material(seed=6), material(count=1, seed=99)
    made.labels[11] = other.labels[0] + [100, -60]
    made.labels[11, 0, ::2] -= [150, 0]
    (fault,) = judged(made).faults
    assert (fault.kind, fault.image) == ("unlike any", 11)


def test_a_model_that_errs_accuses_nobody() -> None:
    """A constant, three times the noise, and a jump of single points, where the other labels speak for the label."""
    made = material(seed=7, model_noise=12)
    made.points[:, 3] += 40
    made.points[12, 5] += 150
    made.points[31, 2] -= (90, 80)
    assert found(judged(made)) == []


def test_an_image_that_the_model_calls_unlike_is_not_judged() -> None:
    made = material(seed=8)
    made.labels[4, 0] += np.random.default_rng(0).uniform(-200, 200, (8, 2))
    made.labels[6, 0, 1] += 120
    made.unlike[[4, 6, 8]] = True  # the labels of 8 fit all the same
    judgement = judged(made)
    assert judgement.faults == () and [each.image for each in judgement.not_judged] == [4, 6]
    assert all(np.isnan(each.score) for each in judgement.not_judged)


def test_a_model_without_calibration_is_doubted_where_its_points_are_odd() -> None:
    made = material(seed=8)
    made.points[4] = np.random.default_rng(1).uniform(0, 600, (8, 2))
    judgement = judged(made)
    assert judgement.faults == () and [each.image for each in judgement.not_judged] == [4]


def test_missing_labels_do_no_harm() -> None:
    made = material(seed=9)
    rng = np.random.default_rng(0)
    made.labels[rng.random((60, 1, 8)) < 0.2] = np.nan
    made.labels[10] = np.nan
    made.labels[22, 0, 0] = made.labels[22, 0, 1] = SIZE
    assert {each[1] for each in found(judged(made))} == {22}


def test_a_slip_of_one_annotator_is_his() -> None:
    made = material(seed=10, annotators=2)
    made.labels[17, 1, 3] += (30, 25)
    (fault,) = judged(made).faults
    assert (fault.image, fault.annotators, fault.landmarks) == (17, (1,), (3,))


def test_where_the_other_annotator_says_the_same_nobody_slipped() -> None:
    made = material(seed=10, annotators=2)
    made.labels[17, :, 3] += (30, 25)
    assert found(judged(made)) == []
    one = replace(made, labels=made.labels[:, :1], annotators=("senior",))
    assert found(judged(one)) == [("slipped", 17, (3,))]


def test_slips_are_seen_from_where_it_is_stated() -> None:
    alone = judged(material(seed=11))
    hits = 0
    for image in range(10):
        made = material(seed=11)
        made.labels[image, 0, image % 8] += (1.5 * alone.seen_from / 0.5, 0)
        hits += ("slipped", image, (image % 8,)) in found(judged(made))
    assert hits >= 7  # half and more: the noise of the three adds to the slip or takes from it


def test_few_images_are_judged_by_the_model_alone() -> None:
    made = material(count=6, seed=12)
    made.labels[2, 0, [0, 5]] = made.labels[2, 0, [5, 0]]
    assert [each[:2] for each in found(judged(made))] == [("exchanged", 2)]


def test_a_whole_annotator_who_differs_is_no_fault_of_an_image() -> None:
    made = material(seed=13, annotators=2)
    before = judged(made)
    made.labels[:, 1, 2] += (25, 0)
    after = judged(made)
    assert found(after) == found(before)
    assert [each.score for each in after.faults] == pytest.approx([each.score for each in before.faults], abs=1e-3)


def test_order_of_images_does_not_matter() -> None:
    made = material(seed=3)
    made.labels[14, 0, 2] += (60, -45)
    order = np.random.default_rng(0).permutation(60)
    fields = ("labels", "points", "covariance", "sizes", "spacing", "unlike", "doubtful")
    mixed = replace(made, **{name: getattr(made, name)[order] for name in fields})
    (one,), (two,) = judged(made).faults, judged(mixed).faults
    assert order[two.image] == one.image and two.score == pytest.approx(one.score, rel=1e-6)
