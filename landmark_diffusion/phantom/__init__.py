"""Procedural lateral skulls with exactly known landmarks."""
