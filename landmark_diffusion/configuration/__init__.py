"""Config files: found, read with their lines, merged and checked; no torch."""
