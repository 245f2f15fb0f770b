"""What each process of the distributed tests does; in a module of its own so that spawned processes can import it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.utils.data import DistributedSampler
from torchmetrics import MetricCollection

from landmark_diffusion.metrics import (
    LandmarkErrors,
    MeanRadialError,
    MetricError,
    RadialErrorStd,
    SuccessDetectionRate,
)
from tests.metrics.reference import Cases, make_cases


def work(rank: int, world: int, folder: str, scenarios: tuple[str, ...]) -> None:
    """Join a gloo group and run the scenarios; each process writes its results to ``folder``."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    results = {name: SCENARIOS[name](rank, world) for name in scenarios}
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    torch.distributed.destroy_process_group()


def update(metric: Any, cases: Cases, i: int, index: bool = True, in_mm: bool = True) -> None:
    """Feed one sample."""
    metric.update(
        torch.from_numpy(cases.predicted[i : i + 1]),
        torch.from_numpy(cases.target[i : i + 1]),
        torch.from_numpy(cases.spacing[i : i + 1]) if in_mm else None,
        torch.from_numpy(cases.visible[i : i + 1]),
        torch.tensor([i]) if index else None,
    )


def all_metrics() -> dict[str, Any]:
    return {
        "mre": MeanRadialError(),
        "std": RadialErrorStd(),
        "sdr": SuccessDetectionRate(),
        "landmarks": LandmarkErrors(7),
    }


def padded(count: int) -> Callable[[int, int], dict[str, Any]]:
    """``count`` samples dealt by DistributedSampler, which repeats some to give every process as many."""

    def scenario(rank: int, world: int) -> dict[str, Any]:
        cases = make_cases(count)
        places = list(DistributedSampler(range(count), num_replicas=world, rank=rank, shuffle=False))
        metrics = all_metrics()
        for place in places:
            for metric in metrics.values():
                update(metric, cases, place)
        values = {name: metric.compute() for name, metric in metrics.items()}
        # The gathering leaves each process with its own samples, so that it can go on and gather again.
        update(metrics["mre"], cases, places[0])
        return {"places": places, **values, "again": metrics["mre"].compute()}

    return scenario


def one_without_samples(rank: int, world: int) -> dict[str, Any]:
    """The last process gets no sample, the others one each."""
    cases = make_cases(world - 1)
    metrics = all_metrics()
    if rank < world - 1:
        for metric in metrics.values():
            update(metric, cases, rank)
    return {name: metric.compute() for name, metric in metrics.items()}


def collection_without_samples(rank: int, world: int) -> dict[str, Any]:
    """The same in a MetricCollection, which groups metrics only once it has seen an update."""
    cases = make_cases(world - 1)
    collection = MetricCollection({"mre": MeanRadialError(), "std": RadialErrorStd()})
    if rank < world - 1:
        update(collection, cases, rank)
    return dict(collection.compute())


def unindexed(rank: int, world: int) -> dict[str, Any]:
    """Without index everything counts: the first process sees samples 0 and 1, the others sample 0 again."""
    cases = make_cases(2)
    metric = MeanRadialError()
    for place in (0, 1) if rank == 0 else (0,):
        update(metric, cases, place, index=False)
    return {"mre": metric.compute()}


def mixed_units(rank: int, world: int) -> dict[str, Any]:
    """One process measures in mm, the other in pixels: every process must hear of it."""
    cases = make_cases(world)
    metric = MeanRadialError()
    update(metric, cases, rank, in_mm=rank == 0)
    try:
        metric.compute()
    except MetricError as error:
        return {"error": str(error)}
    return {}


SCENARIOS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "five": padded(5),
    "one": padded(1),
    "one_without_samples": one_without_samples,
    "collection_without_samples": collection_without_samples,
    "unindexed": unindexed,
    "mixed_units": mixed_units,
}
