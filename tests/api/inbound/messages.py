"""Messages as a provider signs them."""

import base64
import hashlib
import hmac
from typing import Any

import httpx
from sqlmodel import select

from vault.database import Database
from vault.tables import InboundMessage, Life

SECRET = "whsec_" + base64.b64encode(b"canary-signing-key-0001").decode()


def signed(key: str, id_: str, at: int, body: bytes) -> dict[str, str]:
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signature}


async def probe_at(db: Database, life: Life) -> Any:
    async with db.reading() as tx:
        row = await tx.get(Life, life.id)
    assert row is not None
    return row.probe_at


async def remembered(db: Database) -> int:
    async with db.reading() as tx:
        return len((await tx.exec(select(InboundMessage))).all())


def refused(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code >= 400, answer.json()["code"]) == (True, code), answer.text
    assert "canary" not in answer.text
