"""The cookie that binds a callback to the browser that opened the link (law 6)."""

import hmac
from urllib.parse import urlsplit

from fastapi import Request, Response
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.api_keys import digest
from vault.tables import AuthSession, Visit


def cookie_name(session: AuthSession, visit_id: str) -> str:
    """A name of its own for each visit, so that two tabs do not overwrite each other; host-bound under TLS."""
    prefix = "__Host-" if _secure(session) else ""
    return f"{prefix}authpipe-{visit_id}"


def set_cookie(response: Response, session: AuthSession, visit_id: str, value: str, max_age: int) -> None:
    """HttpOnly and Lax: it comes back with the provider's redirect and with no other cross-site request but such."""
    response.set_cookie(
        cookie_name(session, visit_id),
        value,
        max_age=max_age,
        path="/",
        secure=_secure(session),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, session: AuthSession, visit_id: str) -> None:
    """The visit is over."""
    response.delete_cookie(cookie_name(session, visit_id), path="/", secure=_secure(session), httponly=True)


def is_visitor(request: Request, session: AuthSession, visit: Visit) -> bool:
    """Whether this browser made that visit."""
    value = request.cookies.get(cookie_name(session, visit.id), "")
    return hmac.compare_digest(digest(value), visit.cookie_hash)


async def holds_cookie(tx: AsyncSession, request: Request, session: AuthSession) -> bool:
    """Whether this browser is the one that brought the session's consent."""
    visit = await tx.get(Visit, session.consumed_visit_id) if session.consumed_visit_id else None
    return visit is not None and is_visitor(request, session, visit)


def _secure(session: AuthSession) -> bool:
    return urlsplit(session.oauth_redirect_url).scheme == "https"
