"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Give the version that was installed; says so where the package runs from its source alone."""
    try:
        return metadata.version("landmark-diffusion")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"
