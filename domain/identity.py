"""Ids that other systems see."""

import unicodedata

from domain.life import Kind

MAX_BUILDER_ID = 128
KINDS = frozenset(Kind)


def workflow_id(workspace_id: str, kind: str, provider_id: str, life_id: str) -> str:
    """The one workflow of a life follows from its row, so starting it again is idempotent."""
    return f"{workspace_id}/{kind}/{provider_id}/{life_id}"


def names_in(workflow_id: str) -> dict[str, str]:
    """What the id of a life's or a provider config's workflow tells, by the names of log lines; of others nothing."""
    parts = workflow_id.split("/")
    if len(parts) != 4:
        return {}
    _, kind, provider, id_ = parts
    return {"provider": provider, "life_id" if kind in KINDS else "provider_config_id": id_}


def builder_id_problem(value: str) -> str | None:
    """Why a builder's own id is refused, or None: at most 128 characters, none of them a control character."""
    if len(value) > MAX_BUILDER_ID:
        return f"is longer than {MAX_BUILDER_ID} characters"
    # The first look is one call, and almost every id needs no other.
    if not value.isprintable() and any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in value):
        return "contains a control character"
    return None
