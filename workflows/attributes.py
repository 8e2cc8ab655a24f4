"""The search attributes of a life: four of the ten keywords SQL visibility has.

Written at start and on a change of status only: every write rewrites the visibility row.
"""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from activities.messages import LifeIds

PROVIDER = SearchAttributeKey.for_keyword("AuthpipeProvider")
TENANT = SearchAttributeKey.for_keyword("AuthpipeTenant")
USER = SearchAttributeKey.for_keyword("AuthpipeUser")
STATUS = SearchAttributeKey.for_keyword("AuthpipeStatus")

KEYS: list[SearchAttributeKey[str]] = [PROVIDER, TENANT, USER, STATUS]


def attributes_of(life: LifeIds, status: str) -> TypedSearchAttributes:
    """The attributes a life's workflow is started with."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(PROVIDER, life.provider_id),
            SearchAttributePair(TENANT, life.tenant_id),
            SearchAttributePair(USER, life.user_id),
            SearchAttributePair(STATUS, status),
        ]
    )
