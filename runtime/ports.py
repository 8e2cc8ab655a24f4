"""Ports: is one free, and which setting moves it."""

import contextlib
import errno
import secrets
import socket
from collections.abc import Mapping

from runtime.errors import PortTakenError
from runtime.settings import variable

UNASKED = range(20_000, 32_000)


def listen(field: str, port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket that listens on the port which the setting `field` names. Raises `PortTakenError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        fault = "is already taken" if taken else f"cannot be used on {host} ({error.strerror})"
        raise PortTakenError(
            f"port {port} {fault}; stop what uses it, or choose another in {variable(field)}"
        ) from None


def require_free_ports(wanted: Mapping[str, int]) -> None:
    """`wanted` maps settings to their ports. Raises `PortTakenError` for the first one not to be had."""
    seen: dict[int, str] = {}
    for field, port in wanted.items():
        if port in seen:
            raise PortTakenError(
                f"{variable(field)} and {variable(seen[port])} both name port {port}; give each its own"
            )
        seen[port] = field
        listen(field, port).close()


def free_ports(count: int) -> list[int]:
    """Different ports of this machine that nobody listens on at this moment.

    They lie below the range a system gives to outgoing connections, so that none of those takes one
    between the finding and the using.
    """
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = secrets.choice(UNASKED)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


def free_port() -> int:
    """One port of this machine that nobody listens on at this moment."""
    return free_ports(1)[0]
