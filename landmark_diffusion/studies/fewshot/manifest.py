"""The manifest of a grid: its plan, and for each draw the images by name, so that anyone can repeat it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.options import PER_MACHINE, RESERVED
from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.version import version
from landmark_diffusion.studies.fewshot.plan import SECTION, Plan
from landmark_diffusion.studies.trainings.job import PRETRAINED
from landmark_diffusion.studies.trainings.manifest import Manifest, ManifestFile, differences, refuse

_LATER: Manifest = {"order": "random", "readings": {}, "by_n": {}}
"""What manifests of earlier versions lack, and what they mean by that."""
_FILES = {
    PRETRAINED: ("pretrained", "sha256"),
    "model.init_args.window_pretrained": ("window_pretrained", "window_sha256"),
}
"""Options of a start that name a file: keys of its path and of its content."""
_FIXED = ("dataset", "images", "seed", "stage", "checkpoints", "options", "order", "readings")
"""What may not change once a cell may have been run; axes (starts, targets, n, draws) may grow."""


def propose(
    plan: Plan,
    pool: Sequence[str],
    counts: Mapping[str, int],
    checkpoints: Sequence[str],
    patients: Mapping[str, str] | None = None,
) -> Manifest:
    """Build the manifest of a plan whose training part holds the images ``pool``.

    ``counts`` are the images of each part; ``patients`` gives the patient of an image, whose images are drawn one after
    the other. Raises UserError when there are fewer training images than the largest n,
    or a pre-training checkpoint is absent.
    """
    from landmark_diffusion.data.splits import few_shot_order

    most = max(plan.n)
    if most > len(pool):
        raise UserError(f"{SECTION}.n: found {most}, but the training part has {len(pool)} images; take fewer")
    base = _everywhere(plan.base())
    return {
        "package_version": version(),
        "dataset": base["data.dataset"],
        "images": dict(counts),
        "seed": plan.seed,
        "stage": plan.stage,
        "checkpoints": list(checkpoints),
        "options": dict(sorted(base.items())),
        "starts": {name: _start(plan, name) for name in plan.starts},
        "targets": {name: {"options": dict(sorted(own.items()))} for name, own in plan.targets.items()},
        "by_n": {str(n): dict(sorted(options.items())) for n, options in plan.by_n.items()},
        "readings": {name: dict(sorted(options.items())) for name, options in plan.readings.items()},
        "order": plan.order,
        "n": list(plan.n),
        "draws": [sorted(pool)[:most]]
        if plan.order == "names"
        else [list(few_shot_order(pool, draw, plan.seed, patients)[:most]) for draw in range(plan.draws)],
    }


def _everywhere(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what belongs to a machine or a cell."""
    return {name: value for name, value in options.items() if name not in (*PER_MACHINE, *RESERVED)}


def _start(plan: Plan, name: str) -> dict[str, Any]:
    """Say what a start is; raises UserError where what it begins with is absent."""
    base = _everywhere(plan.base(name))
    start = plan.starts[name]
    options = {**{option: base.get(option) for option in _FILES}, **start.options}
    own: dict[str, Any] = {"n": list(start.n)} if start.n else {}
    if start.fit:
        own |= {"fit": [path.name for path in start.fit], "base": dict(sorted(base.items()))}
    files: dict[str, Any] = {"pretrained": None}
    for option, (key, digest) in _FILES.items():
        if (path := options.pop(option, None)) is not None:
            files |= {key: str(path), digest: _digest(name, option, path)}
    return {"options": dict(sorted(options.items())), **files, **own}


def _digest(name: str, option: str, path: str | Path) -> str:
    from landmark_diffusion.modelfile.checkpoint_reading import start_file

    place = start_file(path)
    if not place.is_file():
        raise UserError(f"{SECTION}.starts.{name}: {option}: found no file {path}; pre-train first, or mend the path")
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def merge(existing: Manifest, proposed: Manifest, folder: Path) -> Manifest:
    """Add the starts, targets, n and draws that ``existing`` lacks; raises UserError where the two contradict."""
    found = [line for key in _FIXED for line in differences(key, existing[key], proposed[key])]
    for axis in ("starts", "targets"):
        for name in existing[axis].keys() & proposed[axis].keys():
            before, now = (_identity(content[axis][name]) for content in (existing, proposed))
            found += differences(f"{axis}.{name}", before, now)
    if bool(existing["targets"]) != bool(proposed["targets"]):
        found += differences("targets", list(existing["targets"]), list(proposed["targets"]))
    for n in set(existing["n"]) & set(proposed["n"]):
        found += differences(f"by_n.{n}", *(content["by_n"].get(str(n), {}) for content in (existing, proposed)))
    for draw, (before, now) in enumerate(zip(existing["draws"], proposed["draws"], strict=False)):
        if any(a != b for a, b in zip(before, now, strict=False)):
            found.append(f"draw {draw}: other images (the training part is another one, or lost images)")
    refuse(
        found,
        folder,
        "grid in this folder is another one than the config's",
        f"Choose another folder ({SECTION}.folder or --folder), or put the values back. Starts, targets, n and draws "
        "may be added.",
    )
    longest = max((existing["draws"], proposed["draws"]), key=len)
    draws = [max(_draw(existing, i), _draw(proposed, i), key=len) for i in range(len(longest))]
    return {
        **existing,
        **{axis: {**proposed[axis], **existing[axis]} for axis in ("starts", "targets")},
        "by_n": {**proposed["by_n"], **existing["by_n"]},
        "n": sorted({*existing["n"], *proposed["n"]}),
        "draws": draws,
    }


def _draw(manifest: Manifest, draw: int) -> list[str]:
    return manifest["draws"][draw] if draw < len(manifest["draws"]) else []


def _identity(choice: Mapping[str, Any]) -> dict[str, Any]:
    """What a start or target is: of pre-training checkpoints the content, wherever they lie, as of its own configs."""
    content = {
        f"content of {option}": choice[digest][:12] for option, (_, digest) in _FILES.items() if digest in choice
    }
    return {**choice.get("base", {}), **choice["options"], **content}


_FILE = ManifestFile("fewshot", ("package_version", *_FIXED, "starts", "targets", "by_n", "n", "draws"), merge, _LATER)
read_manifest, agree, is_news = _FILE.read, _FILE.agree, _FILE.is_news
