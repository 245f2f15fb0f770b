"""``ldx annotate``: marking landmarks, and correcting those of a model, in a browser page of this computer."""
