"""Cephalometric analysis: measures, classes and their uncertainty from named landmarks; plain numpy."""

from landmark_diffusion.studies.cephalometry.analysis import Analysis, MeasureFinding, analyse
from landmark_diffusion.studies.cephalometry.classes import SCHEMES
from landmark_diffusion.studies.cephalometry.measures import MEASURES, measure_points

__all__ = ["MEASURES", "SCHEMES", "Analysis", "MeasureFinding", "analyse", "measure_points"]
