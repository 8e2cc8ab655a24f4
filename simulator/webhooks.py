"""What the plain server sends when access was withdrawn there: Standard Webhooks, written from the specification.

Sent in tasks of their own, so that no revocation waits for a receiver or fails with it. The key is kept in memory only.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from simulator.model import Grant

log = logging.getLogger("simulator")

TIMEOUT_SECONDS = 5
PAUSES = (0.5, 2.0, 10.0)
"""Seconds before each try after the first."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where to send, and the secret to sign with: `whsec_` and base64."""

    url: str
    signing_key: str = field(repr=False)


class Sender:
    """Sends to one receiver, or to nobody. `transport` stands in for the network."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.receiver: Receiver | None = None
        self.transport = transport
        self._tasks: set[asyncio.Task[None]] = set()

    def revoked(self, grant: Grant, now: Callable[[], float]) -> None:
        """Tell that a grant of the plain server was revoked; nothing of it is waited for."""
        if self.receiver is None or grant.server != "plain":
            return
        event = {
            "type": "grant.revoked",
            "data": {"grant": grant.id, "client_id": grant.client_id, "sub": grant.account_id},
        }
        task = asyncio.create_task(self._send(self.receiver, json.dumps(event).encode(), now))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until everything was sent or given up."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, receiver: Receiver, body: bytes, now: Callable[[], float]) -> None:
        message_id = f"msg_{uuid.uuid4().hex}"
        async with httpx.AsyncClient(transport=self.transport, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
            for pause in (*PAUSES, None):
                headers = signed(receiver.signing_key, message_id, int(now()), body)
                try:
                    answer = await http.post(receiver.url, content=body, headers=headers)
                except httpx.HTTPError as error:
                    log.info("webhook %s: %s", message_id, type(error).__name__)
                else:
                    log.info("webhook %s: %d", message_id, answer.status_code)
                    if answer.status_code < 500:
                        return
                if pause is not None:
                    await asyncio.sleep(pause)


def signed(key: str, message_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
