"""What is left of a model on the same images as other devices would have made them (``data.shifts``)."""
