"""Whose life a row is, as the engine is told."""

from activities.messages import ConfigIds, LifeIds
from vault.tables import Life, ProviderConfig


def ids_of(life: Life) -> LifeIds:
    """What a life's workflow and activities are given: ids only."""
    return LifeIds(life.workspace_id, life.kind, life.provider_id, life.id, life.tenant_id, life.user_id)


def config_ids_of(config: ProviderConfig) -> ConfigIds:
    """What a config's breaker is given."""
    return ConfigIds(config.workspace_id, config.provider_id, config.id)
