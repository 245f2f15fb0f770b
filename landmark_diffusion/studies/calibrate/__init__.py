"""Calibration: from what a method believes of its points to regions that hold what they state."""
