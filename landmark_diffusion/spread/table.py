"""The figures of a calibration as a table, for the terminal and the model's card."""

from __future__ import annotations

from landmark_diffusion.core.grid import Grid, rounded
from landmark_diffusion.metrics.records import unit_words
from landmark_diffusion.spread.model_calibration import Calibration, SettingCalibration


def calibration_grid(calibration: Calibration) -> Grid:
    """Lay out, for each setting, how its regions and expected errors do on images that they were not fitted on."""
    first = calibration.settings[0].figures
    unit = unit_words(str(first["unit"]))
    levels = sorted({level for each in calibration.settings for level in each.figures["coverage"]}, key=float)
    percents = [f"{100 * float(level):g} %" for level in levels]
    return Grid(
        title="Calibration",
        above=(calibration.source, f"measured on {first['splits']} random halves, fitted on the others"),
        headings=("steps x samples", "MRE", *percents, "area", "exp.", "rank", "within"),
        long_headings=(
            "steps x samples, spread", f"MRE, {unit}", *(f"points in the {each} regions, %" for each in percents),
            f"median area of the 90 % region, {unit}²", f"expected error, {unit}", "rank correlation, all points",
            "within landmarks",
        ),
        sections=(tuple(_row(each, levels) for each in calibration.settings),),
        notes=(
            f"MRE and expected error in {unit}; percent of points in their regions; median area of the 90 % regions in "
            f"{unit}²; rank correlation (Spearman) of expected and actual error, of all points and within landmarks",
        ),
    )  # fmt: skip


def _row(each: SettingCalibration, levels: list[str]) -> tuple[str, ...]:
    settings, figures = each.settings, each.figures
    name = f"{settings['steps']} x {settings['samples']}, {settings['spread']}"
    shares = [figures["coverage"].get(level, {}).get("mean") for level in levels]
    numbers = [figures.get(key) for key in ("median_area", "expected_error", "spearman_pooled", "spearman_within")]
    percents = [rounded(None if share is None else 100 * share, 1) for share in shares]
    return (name, rounded(figures["mre"]), *percents, *map(rounded, numbers))
