"""Cephalometric analysis: measures, classes and their uncertainty from named landmarks; plain numpy."""
