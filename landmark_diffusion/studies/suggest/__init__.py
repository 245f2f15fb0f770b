"""Which images to label next: those that others lie near to, and those near to where a model errs."""
