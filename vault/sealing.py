"""Whose secrets an auth session's are, and under which field names they are sealed."""

from vault.crypto import Owner
from vault.tables import AuthSession

CODE = "code"
VERIFIER = "verifier"


def session_owner(session: AuthSession) -> Owner:
    """The workspace's own key: a code has no tenant until its attempt is accepted."""
    return Owner(session.workspace_id, "", "auth_session", session.id)


def visit_owner(session: AuthSession, visit_id: str) -> Owner:
    """The verifier of one browser's visit."""
    return Owner(session.workspace_id, "", "visit", visit_id)
