"""One precision for all cells of a grid, whichever machines share it."""

from __future__ import annotations

from dataclasses import replace

from landmark_diffusion.core.say import say
from landmark_diffusion.studies.fewshot.manifest import read_manifest
from landmark_diffusion.studies.fewshot.plan import Plan

OPTION = "trainer.precision"


def with_one_precision(plan: Plan) -> Plan:
    """Return the plan with ``trainer.precision: auto`` replaced: by the manifest's, else by what is fastest here.

    Raises DataError for a damaged manifest.
    """
    base = plan.base()
    if base.get(OPTION) != "auto":
        return plan
    manifest = read_manifest(plan.folder)
    found = None if manifest is None else manifest["options"].get(OPTION)
    if found is None:
        from landmark_diffusion.hardware.precision import choose_precision, device_kind

        found, why = choose_precision(device_kind(base.get("trainer.accelerator")))
        say(f"fewshot: precision {found} for all cells (auto: {why})")
    return replace(plan, options={**plan.options, OPTION: found})
