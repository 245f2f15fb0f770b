"""What may be wrong with images and labels, found before training."""
