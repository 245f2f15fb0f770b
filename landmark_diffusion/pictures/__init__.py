"""One radiograph sheet and one chart style."""
