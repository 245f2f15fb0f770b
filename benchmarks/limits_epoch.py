"""Epochs of a folder's images through the loader, without a network: what ``limits.py epoch`` watches.

    python benchmarks/limits_epoch.py FOLDER PROGRESS --workers 2 --epochs 2 --size 72 80

FOLDER holds the images and points.csv; the number of images passed is kept in the file PROGRESS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from landmark_diffusion import LandmarkDataModule

BATCH, TOLD_EVERY = 50, 1000
SIZE = (72, 80)
"""Pixels: as small as goes where 100,000 images are more than the 512 MiB that a process keeps decoded."""


def main() -> int:
    """Pass all training images through the loader, epoch by epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("progress", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, help="network input, width and height")
    options = parser.parse_args()
    data = LandmarkDataModule(
        "folder", str(options.folder), size=tuple(options.size), batch_size=BATCH, num_workers=options.workers, seed=0,
        dataset_options={"split": "seeded", "fractions": (1.0, 0.0, 0.0)},
    )  # fmt: skip
    data.setup("fit")
    passed, loader = 0, data.train_dataloader()
    for epoch in range(options.epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for batch in loader:
            passed += len(batch["index"])
            if passed % TOLD_EVERY == 0:
                options.progress.write_text(str(passed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
