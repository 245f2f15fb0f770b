"""Labels that do not belong to their image, by what a model finds in it: ``ldx data check --model``."""
