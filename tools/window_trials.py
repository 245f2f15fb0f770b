"""Train the window network of PositionDiffusionModule alone, beside a first network that is trained already.

    python tools/window_trials.py --first RUN/checkpoints/last.ckpt --root ../shared/data/isbi2015 --name NAME \\
        [--updates 2000] [--seed 0] [--recipe paper_a] [--size 384 480] [--set noise.draws=1 windows.size=24 ...]

A quick trial (a few minutes on one core) of an option of the windows: the two networks share nothing in training, so
that the first one, a run on 001-130, can be kept, with what it knows of how the landmarks lie. Measures the points on
131-150 with the small config's sampler and with 1 and 2 evaluations, and appends rows to --table. With several numbers
of updates the same training is measured at each (the rate falls to the last one).
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.progress import track

from landmark_diffusion import LandmarkDataModule, PositionDiffusionModule
from landmark_diffusion.data.geometry import frames_to_original
from landmark_diffusion.hardware.precision import choose_precision
from landmark_diffusion.methods.base import mean_annotation
from landmark_diffusion.methods.training import lr_factor
from landmark_diffusion.metrics.summary import ErrorSummary
from landmark_diffusion.modelfile.checkpoint_reading import read_checkpoint

HOME = Path(__file__).parents[1]
NARROW = choose_precision("cpu")[0] == "bf16-mixed"
FIELDS = (
    "row", "evaluations", "seed", "updates", "minutes", "mre", "median", "sdr_2", "sdr_4", "beyond_10mm", "command"
)  # fmt: skip


def main() -> None:
    """Train, measure, write the rows down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=Path, required=True, help="checkpoint of the first network")
    parser.add_argument("--root", required=True)
    parser.add_argument("--name", required=True, help="of the row")
    parser.add_argument("--table", type=Path, default=HOME / "docs" / "experiments" / "window_trials.csv")
    parser.add_argument("--updates", type=int, nargs="+", default=[2000])
    parser.add_argument("--save", type=Path, help="file for the window network's averaged weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="paper_a")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--set", nargs="*", default=[], metavar="OPTION=VALUE", help="options of the module")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    data = LandmarkDataModule(
        "isbi2015", options.root, tuple(options.size), recipe=options.recipe, split="development", batch_size=4,
        seed=options.seed,
    )  # fmt: skip
    data.setup("fit")
    module = build(options, data.num_landmarks)
    evaluations = (1, 2, module.sampling.steps)
    for updates, minutes in train(module, data, options.updates):
        for steps in evaluations:
            write_row(options, updates, steps, minutes, measure(module, data, steps))
        if options.save is not None:
            torch.save(module.window_network.state_dict(), options.save)


def build(options: argparse.Namespace, landmarks: int) -> PositionDiffusionModule:
    """Make the module of the small config with the trial's options, and put the first network into it, frozen."""
    config = yaml.safe_load((HOME / "configs" / "ceph_diffusion_small.yaml").read_text())["model"]["init_args"]
    config["coarse_factor"] = options.size[0] // 96
    for key, value in (pair.split("=", 1) for pair in options.set):
        *groups, name = key.split(".")
        inner = config
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = yaml.safe_load(value)
    module = PositionDiffusionModule(landmarks, **config)
    weights = read_checkpoint(options.first)["state_dict"]
    for part in (module.network, module.shape_prior):
        name = "network." if part is module.network else "shape_prior."
        part.load_state_dict({key.removeprefix(name): each for key, each in weights.items() if key.startswith(name)})
    module.network.requires_grad_(False)
    return module


def train(
    module: PositionDiffusionModule, data: LandmarkDataModule, stops: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """AdamW with the config's rate, warm-up and cosine; at each stop (updates, minutes), its average in the module."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    average = [weight.detach().clone() for weight in weights]
    chosen = module.optimisation
    optimizer = torch.optim.AdamW(weights, lr=chosen.learning_rate, weight_decay=chosen.weight_decay)
    batches, seconds = every_epoch(data), 0.0
    for step in track(range(max(stops)), "training"):
        begun = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = chosen.learning_rate * lr_factor(step, chosen.warmup_steps, max(stops))
        with torch.autocast("cpu", torch.bfloat16, enabled=NARROW):
            loss = module.window_nll(next(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(chosen.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(average, weights, strict=True):
                mean.lerp_(weight, 1 - decay)
        seconds += time.monotonic() - begun
        if step + 1 in stops:
            exchange(weights, average)
            module.eval()
            yield step + 1, seconds / 60
            module.train()
            exchange(weights, average)


@torch.no_grad()
def exchange(weights: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> None:
    """Exchange the values of weights and their average."""
    for one, other in zip(weights, others, strict=True):
        kept = one.clone()
        one.copy_(other)
        other.copy_(kept)


def every_epoch(data: LandmarkDataModule) -> Iterator[dict[str, Any]]:
    """Give training batches without end, each epoch in an order and with an augmentation of its own."""
    loader = data.train_dataloader()
    for epoch in count():
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        yield from loader


@torch.no_grad()
def measure(module: PositionDiffusionModule, data: LandmarkDataModule, steps: int) -> np.ndarray:
    """Radial errors in mm (I, N) on the validation images after ``steps`` network evaluations."""
    usual = module.sampling
    module.choose_sampling(steps)
    errors = []
    for batch in data.val_dataloader():
        with torch.autocast("cpu", torch.bfloat16, enabled=NARROW):
            found = module.find(batch)["multi-step" if steps > 1 else "single-step"]
        difference = frames_to_original(found.points, batch["frame"]) - mean_annotation(batch["annotations"])
        errors.append(torch.linalg.norm(difference * batch["spacing"][:, None], dim=-1))
    module.sampling = usual
    return torch.cat(errors).numpy()


def write_row(options: argparse.Namespace, updates: int, steps: int, minutes: float, errors: np.ndarray) -> None:
    """Append one row."""
    found = ErrorSummary.of(errors, (2, 4), "mm")
    row: dict[str, Any] = {
        "row": options.name, "evaluations": steps, "seed": options.seed, "updates": updates,
        "minutes": f"{minutes:.1f}", "mre": f"{found.mre:.3f}", "median": f"{found.median:.3f}",
        "sdr_2": f"{found.sdr[2]:.1f}", "sdr_4": f"{found.sdr[4]:.1f}", "beyond_10mm": f"{found.beyond:.2f}",
        "command": " ".join(["python", *sys.argv]),
    }  # fmt: skip
    with options.table.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
    print(row)


if __name__ == "__main__":
    main()
