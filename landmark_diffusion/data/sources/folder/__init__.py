"""One's own images and one table: the source ``folder``."""
