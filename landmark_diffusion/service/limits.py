"""Limits on what a stranger's request may take: bytes, pixels, time, and how many at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

from landmark_diffusion.core.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Limits of the service; the options of ``ldx serve`` have these names.

    Attributes:
        max_bytes: of a request's body.
        max_pixels: of an image, by its header, before it is decoded.
        timeout: seconds from a body's last byte to its answer, waiting included.
        decode_timeout: seconds that the decoding of one image may take.
        workers: images in which landmarks are looked for at once; torch's threads are divided among them.
        readers: processes that decode images, each one at a time.
        queue: requests that may wait beside those that are worked on.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 50_000_000
    timeout: float = 60.0
    decode_timeout: float = 30.0
    workers: int = 1
    readers: int = 2
    queue: int = 32

    def __post_init__(self) -> None:
        least = {"max_bytes": 1024, "max_pixels": 4096, "queue": 0}
        for field in fields(self):
            value, lowest = getattr(self, field.name), least.get(field.name, 1)
            if not lowest <= value < 2**40:
                raise UserError(f"--{field.name}: found {value:g}, expected {lowest} or more")

    @property
    def at_work(self) -> int:
        """Requests that are worked on at once: some are decoded while landmarks are looked for in others."""
        return self.workers + self.readers

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies together, so that many large ones do not fill the memory."""
        return (self.at_work + 2) * self.max_bytes
