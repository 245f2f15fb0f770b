"""How far a point may be off: regions, coverage, abstention, calibration."""
