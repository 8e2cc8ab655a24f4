"""A name server as Compose has one: the name of a service leads to the addresses of its replicas of this moment."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

A_RECORD, INTERNET = 1, 1
ANSWERS = 0x8180
"""An answer without an error, from a server that asks others too (RFC 1035, 4.1.1)."""
THE_NAME_ABOVE = 0xC00C
HEADER = 12


@dataclass
class Names(asyncio.DatagramProtocol):
    """Whatever name is asked for, it is that of `replicas`; there are no IPv6 addresses."""

    replicas: list[str] = field(default_factory=list)
    port: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(answer(data, self.replicas), addr)


def answer(asked: bytes, addresses: list[str]) -> bytes:
    """To one question, of which there is one in every message that resolvers send."""
    end = asked.index(b"\0", HEADER) + 5
    (kind,) = struct.unpack("!H", asked[end - 4 : end - 2])
    found = addresses if kind == A_RECORD else []
    records = [
        struct.pack("!HHHIH", THE_NAME_ABOVE, A_RECORD, INTERNET, 0, 4) + socket.inet_aton(address) for address in found
    ]
    return asked[:2] + struct.pack("!HHHHH", ANSWERS, 1, len(found), 0, 0) + asked[HEADER:end] + b"".join(records)


@asynccontextmanager
async def serving_names() -> AsyncIterator[Names]:
    """On a port of this machine, until the end."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()
