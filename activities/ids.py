"""Whose life a row is, as the engine is told."""

from activities.messages import LifeIds
from vault.tables import Life


def ids_of(life: Life) -> LifeIds:
    """What a life's workflow and activities are given: ids only."""
    return LifeIds(life.workspace_id, life.kind, life.provider_id, life.id, life.tenant_id, life.user_id)
