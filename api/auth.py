"""Who may ask: API keys in `Authorization: Bearer`, and what a publishable one may not do (law 7)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.deps import ApiDeps, DepsOf
from domain.errors import Problem
from vault import session_tokens
from vault.api_keys import PREFIXES, digest, find_key
from vault.tables import ApiKey, SessionToken

# How long a revoked key may still open this process: the price of one select less on the read path.
REMEMBER = timedelta(seconds=5)
REMEMBERED = 1000

bearer = HTTPBearer(auto_error=False, description="An API key: `ap_sk_…` (secret) or `ap_pk_…` (publishable).")


@dataclass(frozen=True, slots=True)
class Caller:
    """A workspace's key, or a session token that stands for what its backend fixed."""

    workspace_id: str
    role: str
    token: SessionToken | None = None


class KeyCache:
    """Living keys by their hash, for a few seconds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[datetime, ApiKey]] = {}

    async def find(self, deps: ApiDeps, presented: str) -> ApiKey | None:
        """The living key; an unknown one is looked up every time."""
        now, hashed = deps.clock(), digest(presented)
        known = self._known.get(hashed)
        if known and now - known[0] < REMEMBER:
            return known[1]
        key = await find_key(deps.db, presented)
        self._known.pop(hashed, None)
        if key is not None:
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[hashed] = (now, key)
        return key

    def forget(self) -> None:
        """A key was revoked in this process: believe nothing that is remembered."""
        self._known.clear()


Presented = Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]


async def anyone(request: Request, deps: DepsOf, presented: Presented) -> Caller:
    """A secret key, a publishable key, or a session token."""
    token = presented.credentials if presented else ""
    if token.startswith(session_tokens.PREFIX):
        row = await session_tokens.find(deps.db, token, deps.clock())
        if row is None:
            raise Problem("session_token_spent", "The session token is unknown, spent or expired.")
        return Caller(row.workspace_id, "session_token", row)
    return await _keyed(request, deps, token)


async def secret_only(request: Request, deps: DepsOf, presented: Presented) -> Caller:
    """A secret key; a publishable one is refused."""
    caller = await _keyed(request, deps, presented.credentials if presented else "")
    if caller.role != "secret":
        raise Problem("forbidden", "A publishable key can open sessions and see their outcome, nothing else.")
    return caller


async def _keyed(request: Request, deps: ApiDeps, presented: str) -> Caller:
    keys: KeyCache = request.app.state.keys
    if not presented.startswith(tuple(PREFIXES.values())):
        raise Problem("unauthenticated")
    key = await keys.find(deps, presented)
    if key is None:
        raise Problem("unauthenticated", "The key is unknown or revoked.")
    return Caller(key.workspace_id, key.role)


SecretCaller = Annotated[Caller, Depends(secret_only)]
AnyCaller = Annotated[Caller, Depends(anyone)]
