"""What every floor needs: errors, atomic files, seeds, text tables, limits for foreign files; no torch."""
