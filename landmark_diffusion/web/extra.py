"""The libraries of the extra ``server``: whether they are there is told before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from landmark_diffusion.core.errors import UserError

NEEDED = ("starlette", "uvicorn", "python_multipart")


def need_server(verb: str) -> None:
    """Raise UserError that says what to install where a library of the extra is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ldx {verb}: needs {', '.join(missing)}, which are not installed; run `pip install "
            "landmark_diffusion[server]`"
        )
