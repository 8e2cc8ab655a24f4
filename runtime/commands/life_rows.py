"""How connections and installations stand in a table: which, why, since when, and what to do."""

from collections.abc import Mapping
from typing import Any

from domain.headline import Standing, headline
from runtime.commands.printing import moment

TITLES = ("id", "provider", "tenant", "user", "status", "why", "since", "what to do")


def row_of(life: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of one life, by title."""
    troubled = life["status"] != "active" or life["health"] != "ok"
    return {
        "id": life["id"],
        "provider": life["provider_id"],
        "tenant": life["tenant_id"],
        "user": life.get("user_id"),
        "status": life["status"] if life["health"] == "ok" else f"{life['status']}, {life['health']}",
        "why": life.get("reason") or life.get("doubt") or life.get("last_error") or life.get("upstream"),
        "since": moment(life.get("revoked_at") or life["updated_at"]) if troubled else "",
        "what to do": to_do(life),
    }


def to_do(life: Mapping[str, Any]) -> str:
    """What somebody should do about it, as far as this answer knows; `explain` knows all."""
    failed = life["health"] != "ok" and bool(life.get("last_error"))
    standing = Standing(
        "revoked" if life["status"] == "deleted" else life["status"],
        life.get("reason") or "",
        failures=int(failed),
        last_error=life.get("last_error") or "",
        doubt=life.get("doubt") or "",
        held_reason=(life.get("last_error") or "") if life.get("held_until") else "",
        upstream=life.get("upstream") or "",
    )
    return headline(standing).to_do
