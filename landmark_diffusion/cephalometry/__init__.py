"""Cephalometric analysis: measures, classes and their uncertainty from named landmarks; plain numpy."""

from landmark_diffusion.cephalometry.analysis import Analysis, Finding, analyse
from landmark_diffusion.cephalometry.classes import SCHEMES
from landmark_diffusion.cephalometry.measures import MEASURES, measure_points

__all__ = ["MEASURES", "SCHEMES", "Analysis", "Finding", "analyse", "measure_points"]
