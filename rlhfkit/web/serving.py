"""A page on a port of this computer, until Ctrl-C."""

import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from rlhfkit.errors import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Host names of this computer."""

_CONFIG: dict[str, Any] = {
    "access_log": False,  # links of invitations are secrets
    "log_level": "warning",
    "lifespan": "off",
    "ws": "none",
    "server_header": False,
    "proxy_headers": False,
    "limit_concurrency": 200,
    "timeout_graceful_shutdown": 3,
}


def server_of(app: ASGIApp) -> uvicorn.Server:
    """What answers requests once it runs; on Ctrl-C it ends what is under way, and raises
    `KeyboardInterrupt`."""
    return uvicorn.Server(uvicorn.Config(app, **_CONFIG))


def listening(host: str, port: int, command: str) -> socket.socket:
    """The port. `UserError` for one that is taken; command: what its line says is refused."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"{command}: cannot listen there ({error.strerror or error}); choose another --port"
        ) from error
