"""Self-supervision by whole images: losses by closed form, processes alike, views, starts, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch.nn import functional as F

from landmark_diffusion import (
    ContrastivePretrainModule,
    DINOPretrainModule,
    HeatmapFinetuneModule,
    UserError,
    Views,
)
from landmark_diffusion.methods.contrast import (
    PrototypeHead,
    balanced_answers,
    centred_answers,
    info_nce,
    nt_xent,
    sharpness_of_answers,
    spread_of_features,
    teacher_student,
    variety_of_answers,
)
from landmark_diffusion.methods.encoder_pretrain import follow, slow_copy
from tests.methods.contrast_workers import (
    HEAD,
    PLAIN,
    STARTS,
    TINY,
    gradient_of_part,
    gradient_of_whole,
    losses,
    told_by_a_teacher,
    work,
)
from tests.options import nested


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double), dim=-1)


def softmax_loss(scores: np.ndarray, place: int) -> float:
    return float(np.log(np.exp(scores - scores[place]).sum()))


def test_infonce_is_the_softmax_over_all_keys() -> None:
    queries, keys = unit(3, 5), unit(7, 5, seed=1)
    scores = (queries @ keys.T / 0.2).numpy()
    expected = [softmax_loss(row, place) for row, place in zip(scores, (4, 0, 6), strict=True)]
    places = torch.tensor([4, 0, 6])
    assert info_nce(queries, keys, places, 0.2).tolist() == pytest.approx(expected, rel=1e-12)
    left_out = torch.zeros(3, 7, dtype=torch.bool)
    left_out[0, 1] = left_out[0, 5] = True
    expected[0] = softmax_loss(scores[0, [0, 2, 3, 4, 6]], 3)
    assert info_nce(queries, keys, places, 0.2, left_out).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("of_same", [None, (1, 0)])
def test_nt_xent_leaves_out_the_view_itself_and_other_keys_of_its_image(of_same: tuple[int, int] | None) -> None:
    first, second, others = unit(3, 5), unit(3, 5, seed=1), unit(2, 5, seed=2)
    views = torch.cat([first, second, others]).numpy()
    expected = np.zeros(3)
    for anchor in range(6):
        same = anchor if of_same is None or anchor % 3 != of_same[0] else 6 + of_same[1]
        kept = [place for place in range(8) if place not in (anchor, same)]
        scores = views[kept] @ views[anchor] / 0.5
        expected[anchor % 3] += softmax_loss(scores, kept.index((anchor + 3) % 6)) / 2
    left_out = None
    if of_same is not None:
        left_out = torch.eye(3, dtype=torch.bool).repeat(1, 3)[:, :8]  # views of the images, and what the others are of
        left_out[:, 6:] = False
        left_out[of_same[0], 6 + of_same[1]] = True
    found = nt_xent(first, second, 0.5, others, left_out=left_out)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-12)


def test_the_student_is_compared_with_each_other_view_of_the_teacher() -> None:
    student, teacher, centre = (
        [unit(2, 4, seed=i) for i in range(3)],
        [unit(2, 4, seed=i + 7) for i in range(2)],
        unit(4),
    )
    pairs = []
    for i, j in ((0, 1), (0, 2), (1, 0), (1, 2)):
        wanted = ((teacher[i] - centre) / 0.05).softmax(-1)
        pairs.append(-(wanted * (student[j] / 0.1).softmax(-1).log()).sum(-1))
    expected = torch.stack(pairs).mean(0)
    answers = [centred_answers(each, centre, 0.05) for each in teacher]
    assert torch.allclose(teacher_student(student, answers, 0.1), expected, rtol=1e-12)


def test_balanced_answers_are_each_as_frequent_as_any_other() -> None:
    """Against the matrix scaled by hand, rows and columns by turns, and its sums."""
    outputs = unit(12, 5) + torch.tensor([2.0, 0, 0, 0, 0])  # the first answer leads to every view
    expected = np.exp(outputs.numpy() / 0.2)
    for _ in range(200):
        expected /= expected.sum(0, keepdims=True)
        expected /= expected.sum(1, keepdims=True)
    found = balanced_answers(outputs, 0.2, 200)
    assert np.allclose(found.numpy(), expected, atol=1e-5)
    assert torch.allclose(found.sum(0), torch.tensor(12 / 5), atol=1e-3)
    assert torch.allclose(balanced_answers(outputs, 0.2).sum(-1), torch.ones(12))
    assert centred_answers(outputs, torch.zeros(5), 0.2).sum(0)[0] > 11  # which a centre that lags does not prevent


def test_a_balanced_teacher_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (2, str(tmp_path), "dino"), nprocs=2)
    losses, centres = zip(*(torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)), strict=True)
    whole, centre = told_by_a_teacher()
    assert torch.allclose(torch.cat(losses), whole, rtol=1e-4)
    assert all(torch.allclose(each, centre, atol=1e-6) for each in centres) and centre.any()
    assert not torch.allclose(told_by_a_teacher(slice(0, 3))[0], whole[:3], rtol=1e-2)  # which half the images were not


def test_the_centre_follows_what_the_teacher_says() -> None:
    """c <- m c + (1 - m) mean (Caron et al. 2021, eq. 4), and what is no number is left out."""
    options = {"distillation.hidden": 8, "distillation.bottleneck": 4, "distillation.out": 3}
    module = DINOPretrainModule(**nested({**TINY, **options, "distillation.centre_momentum": 0.75}))
    module.centre.copy_(torch.tensor([4.0, 0, -4]))
    module._said = torch.tensor([[0.0, 2, 4], [0, 6, 4]])
    module.remember()
    assert module.centre.tolist() == [3, 1, -2]
    module._said = torch.full((2, 3), float("nan"))
    module.remember()
    assert module.centre.tolist() == [3, 1, -2]


def test_the_spread_of_features_tells_a_collapse() -> None:
    assert float(spread_of_features(torch.ones(9, 6))) == 0
    many = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert float(spread_of_features(many)) == pytest.approx(1, abs=0.02)
    assert float(spread_of_features(5 + many / 10)) < 0.03


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "moco_v3")) for kind in STARTS]
)
def test_two_processes_have_the_gradient_of_one(tmp_path: Path, kind: str) -> None:
    """Negatives are gathered: each process sees those of the other, and what it adds to the other's loss comes back.

    So is what images they are of: a key of the same image is no negative on either.
    """
    torch.multiprocessing.spawn(work, (2, str(tmp_path), kind), nprocs=2)
    parts, found = zip(*(torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)), strict=True)
    assert torch.allclose(torch.cat(found), losses(kind), rtol=1e-5)
    whole = gradient_of_whole(kind)
    assert torch.allclose((parts[0] + parts[1]) / 2, whole, rtol=1e-9)
    assert not torch.allclose(
        gradient_of_part(kind, 0), whole, rtol=1e-3
    )  # without the other's negatives it is another


@pytest.mark.parametrize("kind", ["moco_v3", "simclr_v2"])
def test_a_batch_in_chunks_has_the_same_gradient(kind: str) -> None:
    def gradients(chunk: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        options = nested({**TINY, **HEAD, "contrast.kind": kind, "contrast.layers": 1})
        module = ContrastivePretrainModule(chunk=chunk, **options)
        batch = {"image": torch.rand(5, 1, 16, 20), "index": torch.arange(5)}
        torch.manual_seed(1)
        module.losses(batch)["loss"].backward()
        return [each.grad for each in module.network.encoder_parameters()]  # type: ignore[misc, operator]

    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(gradients(0), gradients(2), strict=True))


def test_the_bank_keeps_the_newest_keys_and_no_broken_ones() -> None:
    module = ContrastivePretrainModule(**nested({**TINY, **HEAD, "contrast.bank": 3}))
    module._keys, module._images = [torch.full((2, 4), 1.0)], torch.tensor([8, 9])
    module.remember()
    assert int(module.bank_filled) == 2
    module._keys, module._images = [torch.full((1, 4), 2.0), torch.full((1, 4), 3.0)], torch.tensor([5])
    module.remember()
    assert module.bank[:, 0].tolist() == [2, 3, 1] and module.bank_images.tolist() == [5, 5, 8]
    module._keys = [torch.full((1, 4), float("nan"))]
    module.remember()
    assert module.bank[:, 0].tolist() == [2, 3, 1]


@pytest.mark.parametrize("kind", ["moco_v3", "simclr_v2"])
def test_keys_of_the_same_image_in_the_bank_are_no_negatives(kind: str) -> None:
    """130 images fill a bank of 1,024 with seven of their own each, which pushed an image away from itself."""
    options = nested({**TINY, **HEAD, "contrast.bank": 4, "contrast.kind": kind})
    module = ContrastivePretrainModule(views=PLAIN, **options).eval()
    image = torch.rand(3, 1, 16, 20)

    def losses(index: torch.Tensor | None) -> torch.Tensor:
        return module.losses_of_images(image, index)[0].detach()

    without = losses(torch.tensor([0, 1, 2]))
    module.bank.copy_(unit(4, 4))
    module.bank_images.copy_(torch.tensor([2, 0, 0, -1]))
    module.bank_filled.fill_(3)
    full, own, strangers = losses(None), losses(torch.tensor([0, 1, 2])), losses(torch.tensor([7, 8, 9]))
    twice = losses(torch.tensor([0, 0, 2]))  # an epoch of more samples than images, or a sampler's padding
    assert torch.all(twice[:2] < own[:2]) and twice[2] == own[2]
    assert torch.equal(full, strangers)  # validation: indices of another part mean other images
    assert torch.all(own[[0, 2]] < full[[0, 2]]) and own[1] == full[1] and torch.all(own > without)


def test_a_slow_copy_follows_what_learns() -> None:
    fast = torch.nn.Linear(2, 2)
    fast.bias.requires_grad_(False)
    slow = slow_copy(fast)
    before = slow.weight.clone()
    with torch.no_grad():
        fast.weight += 1
        fast.bias += 1
    follow(slow, fast, 0.75)
    assert torch.allclose(slow.weight, before + 0.25)
    assert torch.allclose(slow.bias, fast.bias - 1)
    assert not any(each.requires_grad for each in slow.parameters())


def test_views_that_change_nothing_give_the_image() -> None:
    image = torch.rand(3, 1, 12, 9)
    assert torch.allclose(PLAIN.draw(image), image, atol=1e-6)
    mirrored = Views(crop=(1, 1), mirror=1, brightness=0, contrast=0, blur=0, solarise=0)
    assert torch.allclose(mirrored.draw(image), image.flip(-1), atol=1e-6)
    inverted = Views(crop=(1, 1), mirror=0, brightness=0, contrast=0, blur=0, solarise=1)
    found = inverted.draw(image)
    changed = (found - image).abs() > 1e-5
    assert changed.any() and torch.allclose(found[changed], 1 - image[changed], atol=1e-5)


@pytest.mark.parametrize("width", [64, 256])
def test_a_blur_is_as_wide_as_its_image_says(width: int) -> None:
    """2 px at 256 px: the same 2 px at 64 px blurred away what a landmark is found by."""
    image = torch.zeros(200, 1, 9, width)
    image[..., width // 2] = 1
    torch.manual_seed(0)
    found = Views(crop=(1, 1), mirror=0, brightness=0, contrast=0, blur=1, solarise=0).draw(image)[:, 0, 4]
    places = torch.arange(width) - width // 2
    sigma = ((found * places**2).sum(-1) / found.sum(-1)).sqrt() * 256 / width
    assert sigma.max() <= 2.001
    assert sigma.max() > (1.9 if width == 256 else 1.0)  # a pixel's grid takes its part of a narrow one


def test_a_turned_view_keeps_right_angles_in_an_image_of_unequal_sides() -> None:
    """A square stays a square: its area and its extent about its own middle are those of a turned square."""
    image = torch.zeros(64, 1, 80, 48)
    image[:, :, 30:50, 14:34] = 1
    torch.manual_seed(0)
    found = Views(crop=(1, 1), turn=45, mirror=0, brightness=0, contrast=0, blur=0, solarise=0).draw(image)[:, 0]
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(48.0), indexing="ij")
    mass = found.sum((1, 2))
    y, x = ((found * each).sum((1, 2)) / mass for each in (rows, columns))
    spread = [
        (found * (a - b[:, None, None]) * (c - d[:, None, None])).sum((1, 2)) / mass
        for a, b, c, d in ((rows, y, rows, y), (columns, x, columns, x), (rows, y, columns, x))
    ]
    assert torch.allclose(mass, torch.tensor(400.0), rtol=0.02)
    assert torch.allclose(spread[0], spread[1], rtol=0.03) and spread[2].abs().max() < 1


@pytest.mark.parametrize("cls", [ContrastivePretrainModule, DINOPretrainModule])
def test_momentum_rises_along_half_a_cosine(cls: type) -> None:
    """As MoCo v3 and DINO were published, where no end is set it stays."""
    group = "contrast" if cls is ContrastivePretrainModule else "distillation"
    head = {f"{group}.{name}": 8 for name in ("hidden", "out")} | {f"{group}.momentum": 0.9}

    def momenta(total: float, **end: float) -> list[float]:
        module = cls(**nested({**TINY, **head, **{f"{group}.{name}": value for name, value in end.items()}}))
        found = []
        for step in (0, 10, 20, 40, 50):
            module._trainer = SimpleNamespace(global_step=step, estimated_stepping_batches=total)
            found += [{momentum for _, _, momentum in module.slow_parts()}]
        assert all(len(each) == 1 for each in found)
        return [next(iter(each)) for each in found]

    assert momenta(40) == [0.9] * 5
    assert momenta(40, momentum_end=1) == pytest.approx([0.9, 0.9146447, 0.95, 1, 1], abs=1e-7)
    assert momenta(float("inf"), momentum_end=1) == pytest.approx([0.9] * 5)  # a run without an end


def test_views_stay_grey_levels_and_follow_the_seed() -> None:
    image = torch.rand(4, 1, 24, 30)
    torch.manual_seed(5)
    first = Views(turn=20).draw(image, (12, 15))
    torch.manual_seed(5)
    assert torch.equal(first, Views(turn=20).draw(image, (12, 15)))
    assert first.shape == (4, 1, 12, 15) and first.min() >= 0 and first.max() <= 1


@pytest.mark.parametrize("norm", [False, True])
def test_a_new_teacher_tells_images_apart(norm: bool) -> None:
    """With the biases of a layer as torch makes it, the answers to any two images had a cosine of 0.9999."""
    torch.manual_seed(0)
    features = 1 + torch.randn(32, 24) / 10  # of a new encoder: much the same for each image
    head = PrototypeHead(24, 32, 16, 40, norm)
    said = F.normalize(head(features), dim=-1)
    assert 1 - (said @ said.T).min() > (0.5 if norm else 0.02)
    assert not any(layer.bias.any() for layer in head.mlp if isinstance(layer, torch.nn.Linear))


def test_what_a_teacher_tells_by_closed_form() -> None:
    centre = torch.randn(8)
    nothing, own = centred_answers(centre.expand(3, 8), centre, 0.05), torch.eye(8)
    same, two = own[:1].expand(8, 8), torch.tensor([[0.5, 0.5, 0, 0]])
    assert [float(sharpness_of_answers(each)) for each in (nothing, own, same, two)] == pytest.approx(
        [0, 1, 1, 0.5], abs=1e-6
    )
    assert [float(variety_of_answers(each)) for each in (nothing, own, same, two)] == pytest.approx(
        [1, 1, 0, 0.5], abs=1e-6
    )


@pytest.mark.parametrize("cls", [ContrastivePretrainModule, DINOPretrainModule])
def test_its_encoder_is_the_start_of_fine_tuning_and_nothing_else_of_it(tmp_path: Path, cls: Any) -> None:
    torch.manual_seed(0)
    module = cls(**nested(TINY))
    for parameter in module.slow_network.parameters():
        parameter.data += 1
    path = tmp_path / "last.ckpt"
    saved = {**module.hparams, "_class_path": f"{cls.__module__}.{cls.__name__}"}
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": saved, "global_step": 7}, path)
    finetuned = HeatmapFinetuneModule(3, null_time="removed", pretrained=str(path), weights="raw", **nested(TINY))
    finetuned.take_start()
    learned = module.slow_network if cls is DINOPretrainModule else module.network  # as each paper does
    taken, own = finetuned.network.state_dict(), learned.state_dict()
    assert torch.equal(taken["encoder.1.blocks.0.conv_in.weight"], own["encoder.1.blocks.0.conv_in.weight"])
    assert finetuned.transfer is not None
    assert {name.partition(".")[0] for name in finetuned.transfer.taken} == {"conv_in", "encoder", "down"}
    assert "the start is an encoder alone" in finetuned.transfer.new.values()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": {"class_path": "GU2Net"}}, r"model\.network: a GU2Net does not say what its encoder is \(encode,"),
        ({"contrast.temperature": 0}, r"model\.contrast\.temperature: found 0, expected a number above 0"),
        ({"contrast.momentum": 1}, r"model\.contrast\.momentum: found 1, expected 0 to below 1"),
        (
            {"contrast.momentum_end": 0.5},
            r"momentum_end: found 0.5, expected 0.99 \(momentum\) to 1, or null to keep it",
        ),
        ({"contrast.kind": "byol"}, r"found 'byol', expected moco_v3 or simclr_v2"),
        ({"views.crop": (0.5, 0.2)}, r"model\.views\.crop: found \[0.5, 0.2\], expected two rising shares"),
        ({"chunk": -1}, r"model\.chunk: found -1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ContrastivePretrainModule(**nested({**({} if "network" in options else TINY), **options}))


def test_contrast_learns_to_tell_images_apart() -> None:
    torch.manual_seed(0)
    options = {
        **TINY, "contrast.hidden": 32, "contrast.out": 16, "contrast.temperature": 0.2, "contrast.momentum": 0.9,
        "views.crop": (0.8, 1.0), "views.mirror": 0.0, "views.brightness": 0.1, "views.contrast": 0.1,
        "views.solarise": 0.0,
    }  # fmt: skip
    module = ContrastivePretrainModule(**nested(options))
    image = torch.stack([F.interpolate(torch.rand(1, 1, 4, 4), size=(16, 16), mode="bilinear")[0] for _ in range(8)])
    optimiser = torch.optim.AdamW(module.parameter_groups(), lr=3e-3)
    found = []
    for _ in range(40):
        losses = module.losses({"image": image, "index": torch.arange(8)})
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        for slow, fast, momentum in module.slow_parts():
            follow(slow, fast, momentum)
        found.append(float(losses["loss"].detach()))
    chance = 2 * 2 * 0.2 * np.log(8)
    assert found[0] > 0.8 * chance and np.mean(found[-10:]) < 0.3 * chance
