"""Landmarks by HTTP (``ldx serve``): images read in processes of their own, found by a model that is loaded once."""
