"""A package of somebody else's, and how a test installs it: as pip does, by a dist-info folder on the path."""
