"""The manifest of a grid: its plan, and for each draw the images by name, so that anyone can repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landmark_diffusion.configuration.options import PER_MACHINE, RESERVED
from landmark_diffusion.core.errors import DataError, UserError
from landmark_diffusion.core.files import atomic_write_text
from landmark_diffusion.core.version import version
from landmark_diffusion.modelfile.moved_options import dotted_with_new_names
from landmark_diffusion.studies.fewshot.locks import exclusive
from landmark_diffusion.studies.fewshot.plan import PRETRAINED, SECTION, Plan

MANIFEST = "manifest.json"
Manifest = dict[str, Any]
_FIXED = ("dataset", "images", "seed", "stage", "checkpoints", "options")
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
    base = {name: value for name, value in plan.base().items() if name not in (*PER_MACHINE, *RESERVED)}
    return {
        "package_version": version(),
        "dataset": base["data.dataset"],
        "images": dict(counts),
        "seed": plan.seed,
        "stage": plan.stage,
        "checkpoints": list(checkpoints),
        "options": dict(sorted(base.items())),
        "starts": {name: _start(name, {PRETRAINED: base.get(PRETRAINED), **own}) for name, own in plan.starts.items()},
        "targets": {name: {"options": dict(sorted(own.items()))} for name, own in plan.targets.items()},
        "n": list(plan.n),
        "draws": [list(few_shot_order(pool, draw, plan.seed, patients)[:most]) for draw in range(plan.draws)],
    }


def _start(name: str, options: dict[str, Any]) -> dict[str, Any]:
    path = options.pop(PRETRAINED)
    if path is None:
        return {"options": dict(sorted(options.items())), "pretrained": None}
    if not Path(path).is_file():
        raise UserError(
            f"{SECTION}.starts.{name}: {PRETRAINED}: found no file {path}; pre-train first, or mend the path"
        )
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"options": dict(sorted(options.items())), "pretrained": str(path), "sha256": digest}


def agree(folder: Path, proposed: Manifest) -> Manifest:
    """Write the manifest at the first start, add what is new at later ones, and return what now counts.

    Processes that start at once agree. Raises UserError, naming every difference, when the folder's grid is another.
    """
    with exclusive(folder / ".manifest.lock", f"the manifest of {folder}"):
        existing = read_manifest(folder)
        merged = proposed if existing is None else merge(existing, proposed, folder)
        if merged != existing:
            atomic_write_text(folder / MANIFEST, json.dumps(merged, indent=1, ensure_ascii=False) + "\n")
        found = read_manifest(folder)
        assert found is not None
        return merge(found, proposed, folder)


def is_news(folder: Path, proposed: Manifest) -> bool:
    """Tell whether a plan has cells that the folder's manifest does not know; raises UserError like ``agree``."""
    existing = read_manifest(folder)
    return existing is None or merge(existing, proposed, folder) != existing


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a grid; None where there is none yet. Raises DataError for a damaged one."""
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {key: content[key] for key in ("package_version", *_FIXED, "starts", "targets", "n", "draws")}
        method = str(found["options"].get("model.class_path", ""))
        for part in (found, *found["starts"].values(), *found["targets"].values()):
            part["options"] = dotted_with_new_names(method, part["options"])
        return found
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"no whole manifest of `ldx fewshot` ({error}); choose another folder", path) from error


def merge(existing: Manifest, proposed: Manifest, folder: Path) -> Manifest:
    """Add the starts, targets, n and draws that ``existing`` lacks; raises UserError where the two contradict."""
    differences = [line for key in _FIXED for line in _differences(key, existing[key], proposed[key])]
    for axis in ("starts", "targets"):
        for name in existing[axis].keys() & proposed[axis].keys():
            before, now = (_identity(content[axis][name]) for content in (existing, proposed))
            differences += _differences(f"{axis}.{name}", before, now)
    if bool(existing["targets"]) != bool(proposed["targets"]):
        differences += _differences("targets", list(existing["targets"]), list(proposed["targets"]))
    for draw, (before, now) in enumerate(zip(existing["draws"], proposed["draws"], strict=False)):
        if any(a != b for a, b in zip(before, now, strict=False)):
            differences.append(f"draw {draw}: other images (the training part is another one, or lost images)")
    if differences:
        raise UserError(
            f"{folder}: the grid in this folder is another one than the config's:\n"
            + "\n".join(f"  {line}" for line in differences)
            + f"\nChoose another folder ({SECTION}.folder or --folder), or put the values back. Starts, targets, n and "
            "draws may be added."
        )
    longest = max((existing["draws"], proposed["draws"]), key=len)
    draws = [max(_draw(existing, i), _draw(proposed, i), key=len) for i in range(len(longest))]
    return {
        **existing,
        **{axis: {**proposed[axis], **existing[axis]} for axis in ("starts", "targets")},
        "n": sorted({*existing["n"], *proposed["n"]}),
        "draws": draws,
    }


def _draw(manifest: Manifest, draw: int) -> list[str]:
    return manifest["draws"][draw] if draw < len(manifest["draws"]) else []


def _identity(choice: Mapping[str, Any]) -> dict[str, Any]:
    """What a start or target is: of a pre-training checkpoint its content, wherever it lies."""
    digest = choice.get("sha256")
    return {**choice["options"], **({f"content of {PRETRAINED}": digest[:12]} if digest else {})}


def _differences(key: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = sorted(name for name in before.keys() | now.keys() if before.get(name, "-") != now.get(name, "-"))
        return [f"{key}: {name}: {before.get(name, 'not set')} there, {now.get(name, 'not set')} now" for name in names]
    return [] if before == now else [f"{key}: {before} there, {now} now"]
