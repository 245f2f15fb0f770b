"""What leaves a run: checkpoints read back, and the model file with its facts."""
