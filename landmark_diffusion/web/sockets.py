"""The place that a server listens at, taken before anything is loaded, so that a fault is told at once."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from landmark_diffusion.core.errors import UserError
from landmark_diffusion.core.texts import one_line

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Take an address of this computer and listen there; port 0 takes a free one.

    ``host`` is an address or a name of this computer, "0.0.0.0" or "::" all that it has. Raises UserError where the
    port is taken or not allowed, and for an address that is not this computer's.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port: found {port}, expected 0 (a free one) to 65535")
    if not host:
        raise UserError(f"--host: found nothing, expected an address of this computer such as {LOOPBACK}")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _listen(socket.socket(family, kind, protocol), place)
    except (OSError, UnicodeError) as error:
        raise UserError(_refusal(error, host, port)) from error


def _listen(taken: socket.socket, place: tuple[object, ...]) -> socket.socket:
    try:
        if os.name == "posix":  # elsewhere it lets two programs have one port
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(place)
        taken.listen(BACKLOG)  # only now nobody else can take it
    except OSError:
        taken.close()
        raise
    return taken


def _refusal(error: OSError | UnicodeError, host: str, port: int) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            f"--port {port}: is taken by another program on {host} (another server of this kind?); give another --port,"
            " or --port 0 for one that is free"
        )
    if number == errno.EACCES:
        return f"--port {port}: may not be taken by this user; give one from 1024 to 65535"
    return f"--host {host}: cannot be listened at ({one_line(error)}); give an address of this computer, as {LOOPBACK}"


def is_loopback(listening: socket.socket) -> bool:
    """Whether only programs on this computer reach it."""
    return ipaddress.ip_address(str(listening.getsockname()[0]).partition("%")[0]).is_loopback


def seen_from_elsewhere(listening: socket.socket) -> str | None:
    """Where other computers reach what listens at all addresses, 0.0.0.0 or ::, by this computer's name; else None."""
    host, port = listening.getsockname()[:2]
    everywhere = ipaddress.ip_address(str(host).partition("%")[0]).is_unspecified
    return f"http://{socket.gethostname()}:{port}" if everywhere else None


def address(listening: socket.socket) -> str:
    """Where it is reached: http://127.0.0.1:8710."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
