"""A DDPM that is told which set an image is of: how often it is not, its features aligned, its images by set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from landmark_diffusion import DDPMPretrainModule, LandmarkDataModule
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.diffusion.process import add_noise
from landmark_diffusion.evaluation.sample_writer import SampleWriter
from landmark_diffusion.methods.ddpm_options import SetCondition
from landmark_diffusion.training import default_callbacks
from tests.methods.test_ddpm_pretrain import TINY
from tests.options import nested

SETS = ("skulls", "others", "third")
H, W = 12, 10


def module(options: Mapping[str, Any] | None = None) -> DDPMPretrainModule:
    torch.manual_seed(0)
    usual = {**TINY, "noise.steps": 21, "sampling.steps": 3, "condition.sets": SETS, "condition.dropped": 0.0}
    made = DDPMPretrainModule(**nested({**usual, **(options or {})})).eval()
    for parameter in made.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return made


def batch(sets: tuple[int, ...]) -> dict[str, Any]:
    images = torch.rand(len(sets), 1, H, W, generator=torch.Generator().manual_seed(1))
    return {"image": images, "index": torch.arange(len(sets)), "set": torch.tensor(sets)}


class Told(nn.Module):
    """Keeps the conditions that it is given; its features are t times the told set's number, from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conditions: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        self.conditions.append(condition)
        return torch.zeros_like(x)

    def with_features(
        self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        number = (condition * torch.arange(1.0, 4.0)).sum(1)
        return x, (t * number)[:, None, None, None].expand(-1, 4, H, W)


def test_the_set_enters_as_an_embedding_of_its_own() -> None:
    """The loss of an image is that of the network with its one-hot set, and without is another prediction."""
    made, b = module(), batch((2, 0))
    torch.manual_seed(5)
    loss = made.losses(b)["loss"]
    torch.manual_seed(5)
    x0 = b["image"] * 2 - 1
    t, noise = torch.randint(0, 21, (2,)), torch.randn_like(x0)
    x_t = add_noise(made.noise_schedule, x0, noise, t)
    output = made.network(x_t, t, torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert loss.item() == pytest.approx((output - noise).square().mean().item(), rel=1e-6)
    assert torch.equal(made(x_t, t), made.network(x_t, t, torch.zeros(2, 3)))
    assert not torch.allclose(made(x_t, t), output)


@pytest.mark.parametrize("dropped", [0.0, 0.1, 1.0])
def test_the_share_of_draws_in_which_it_is_not_told(dropped: float) -> None:
    made = module({"condition.dropped": dropped})
    made.network = Told()
    b = {name: value.repeat(1000, *[1] * (value.ndim - 1)) for name, value in batch((0, 1, 2)).items()}
    torch.manual_seed(3)
    made.losses(b)
    (condition,) = made.network.conditions
    told = condition.sum(1)
    assert torch.equal(condition[told == 1], nn.functional.one_hot(b["set"], 3).float()[told == 1])
    deviation = (dropped * (1 - dropped) / 3000) ** 0.5
    assert abs((told == 0).float().mean().item() - dropped) <= 4 * deviation


def test_alignment_is_the_mean_square_of_what_the_condition_changes() -> None:
    """By hand: t (1 and 2 of 0 ... 20) times 1, 2, 2 against 0: (1 + 4) / 2 (1 + 4 + 4) / 3 = 7.5."""
    made = module({"alignment.weight": 0.1, "alignment.levels": (0.05, 0.1)})
    made.network = Told()
    b = batch((0, 1, 1))
    assert made.feature_difference(b["image"], made._sets(b, 3)).item() == pytest.approx(7.5, rel=1e-6)
    losses = made.losses(b)
    assert losses["alignment"].item() == pytest.approx(7.5, rel=1e-6)
    assert losses["loss"].item() == pytest.approx(losses["mse"].item() + 0.75, rel=1e-6)


def test_without_alignment_nothing_else_is_drawn_or_learned() -> None:
    b, results = batch((0, 1)), []
    for weight, acts in ((0.0, True), (0.5, False)):
        made = module({"alignment.weight": weight})
        made._aligns = acts
        torch.manual_seed(5)
        results.append((made.losses(b), torch.rand(())))
    assert results[0] == results[1] and list(results[0][0]) == ["loss"]


def test_alignment_teaches_the_condition() -> None:
    made, b = module({"alignment.weight": 1.0}), batch((0, 1, 2))
    sets = made._sets(b, 3)
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    before = made.feature_difference(b["image"], sets).item()
    for _ in range(30):
        optimiser.zero_grad()
        made.feature_difference(b["image"], sets).backward()
        optimiser.step()
    assert made.feature_difference(b["image"], sets).item() < 0.3 * before


def test_images_of_a_set_are_generated_from_the_noise_of_all() -> None:
    made = module()
    by_set = [made.generate(2, (W, H), seed=3, of_set=name) for name in (*SETS, None)]
    assert all(each.shape == (2, 1, H, W) for each in by_set)
    assert not any(torch.allclose(one, by_set[0], atol=1e-3) for one in by_set[1:])
    assert torch.equal(by_set[3], made.generate(2, (W, H), seed=3))
    with pytest.raises(UserError, match=r"condition.sets: found skulls, others, third, but the data has fourth too"):
        made.generate(1, (W, H), of_set="fourth")


def test_the_sets_to_name_are_those_of_the_data() -> None:
    with pytest.raises(UserError, match=r"has mine, theirs too; name the data's sets: \[hand, mine, theirs\]"):
        SetCondition(("chest", "hand")).places(("mine", "hand", "theirs"))


def test_validation_follows_the_image_and_its_set() -> None:
    made, b = module({"condition.dropped": 1.0}), batch((0, 1, 2))
    alone = [made.image_losses({name: value[i : i + 1] for name, value in b.items()})[0] for i in range(3)]
    torch.testing.assert_close(made.image_losses(b), torch.stack(alone), rtol=1e-4, atol=0)
    other = made.image_losses({**b, "set": torch.tensor([0, 1, 1])})
    assert torch.allclose(other[:2], made.image_losses(b)[:2], rtol=1e-4) and other[2] != made.image_losses(b)[2]


def pooled(sets: tuple[str, ...] = ("others", "skulls"), **options: Any) -> LandmarkDataModule:
    described = [
        {"dataset": "phantom", "name": name, "dataset_options": {"count": (3, 1, 1), "image_size": (64, 80), "seed": i}}
        for i, name in enumerate(sets)
    ]
    return LandmarkDataModule(
        "pooled", size=(16, 20), labels=False, batch_size=2, mixing={"balance": "set"},
        dataset_options={"sets": described}, **options,
    )  # fmt: skip


def fit(made: DDPMPretrainModule, folder: Path, data: LandmarkDataModule, *more: Any) -> Trainer:
    trainer = Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=[*default_callbacks(folder, monitor=made.monitor), *more],
    )  # fmt: skip
    trainer.fit(made, datamodule=data)
    return trainer


def test_sets_are_told_apart_by_their_names_and_shown_in_folders_of_their_own(tmp_path: Path) -> None:
    made = module()
    data = pooled()
    fit(made, tmp_path, data, SampleWriter(tmp_path, 2, count=2, steps=3, statistics_count=2))
    assert made._places is not None and made._places.tolist() == [1, 0]
    found = sorted(str(path.relative_to(tmp_path / "samples")) for path in (tmp_path / "samples").rglob("step_*.png"))
    assert found == ["others/step_000002.png", "skulls/step_000002.png"]
    assert (tmp_path / "samples" / "skulls" / "statistics.csv").is_file()


def test_a_set_of_the_data_that_is_not_named_is_refused(tmp_path: Path) -> None:
    expected = r"model.condition.sets: found skulls, others, third, but the data has hands too; name the data's"
    with pytest.raises(UserError, match=expected):
        fit(module(), tmp_path, pooled(("skulls", "hands")))


def test_the_alignment_acts_in_the_last_part_of_the_run(tmp_path: Path) -> None:
    made, seen = module({"alignment.weight": 0.1, "alignment.begins": 0.5}), []
    losses = made.losses
    made.losses = lambda b: (found := losses(b), seen.append("alignment" in found))[0]  # type: ignore[method-assign]
    fit(made, tmp_path, pooled())
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"condition.sets": ("a", "a")}, r"condition.sets: found \['a', 'a'\], expected each name once"),
        ({"condition.dropped": 1.5}, r"condition.dropped: found 1.5, expected a share from 0 to 1"),
        ({"alignment.weight": -1.0}, "alignment.weight: found -1, expected 0"),
        ({"alignment.levels": ()}, r"alignment.levels: found \[\], expected at least one share"),
        ({"alignment.levels": (2.0,)}, r"alignment.levels: found \[2.0\]"),
        ({"alignment.begins": 1.0}, "alignment.begins: found 1, expected a share"),
        (
            {"alignment.weight": 1.0, "condition.sets": ()},
            "weight: found 1, but the network has no condition",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        module(options)
