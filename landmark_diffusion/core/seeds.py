"""Seeds keyed by place in the run, so that a resumed or re-sharded run draws what the unbroken one would have drawn.

Every key goes through ``numpy.random.SeedSequence``, whose hash is fixed by numpy's compatibility policy: the same key
gives the same integer on every machine, process and version, and neighbouring keys give unrelated ones.
"""

from __future__ import annotations

import zlib

import numpy as np

_SAMPLE, _NOISE, _ORDER, _EVALUATION, _SHIFT, _FORM = range(
    1, 7
)  # the kind of draw comes first, so two kinds never share a stream


def derive_seed(*key: int) -> int:
    """Hash non-negative integers to one integer in [0, 2**63), fit for ``torch.manual_seed`` and numpy."""
    state = np.random.SeedSequence([int(part) for part in key]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Seed of one sample's augmentation: the same whichever process or worker makes it."""
    return derive_seed(_SAMPLE, seed, epoch, index)


def noise_seed(seed: int, rank: int, epoch: int, batch_index: int) -> int:
    """Seed of one training batch's noise, time steps and dropout.

    Keyed by the batch and not by the optimiser step: under gradient accumulation the step stands still, and all
    micro-batches of it would draw the same noise. The process's rank is in it for the same reason.
    """
    return derive_seed(_NOISE, seed, rank, epoch, batch_index)


def order_seed(seed: int, epoch: int) -> int:
    """Seed of the order of one epoch's samples, the same on every process."""
    return derive_seed(_ORDER, seed, epoch)


def evaluation_seed(seed: int, index: int, sample: int = 0) -> int:
    """Seed of the noise that measures or draws one image: the same in whatever batch and on whatever process."""
    return derive_seed(_EVALUATION, seed, index, sample)


def shift_seed(seed: int, family: str, image_id: str) -> int:
    """Seed of how one image is changed by one family of ``data.shifts``, in whatever order and folder."""
    return derive_seed(_SHIFT, seed, zlib.crc32(family.encode()), zlib.crc32(image_id.encode()))


def form_seed(seed: int) -> int:
    """Seed of learning to tell mirrored, turned and negative images: the landmarks' training draws none of it."""
    return derive_seed(_FORM, seed)
