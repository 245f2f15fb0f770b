"""A model fitted to few labelled images of one's own: trainings of folds and of all, errors, calibration, file."""
