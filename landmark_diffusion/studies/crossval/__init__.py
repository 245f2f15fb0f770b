"""Cross-validation on one's own images: every fold trained and tested by itself, then one table."""
