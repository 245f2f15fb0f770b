"""A trained model leaves the house: what is known of it, gathered from its run, and its card."""
