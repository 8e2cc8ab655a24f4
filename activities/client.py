"""Ask as the builder's app: with its client secret and, where that is refused, once with the one it replaced."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from activities.deps import Deps
from domain.http import Flow
from domain.oauth.failures import Failure, FailureCode, FailureKind
from domain.oauth.token import ClientCredentials
from vault import configs
from vault.tables import ProviderConfig

T = TypeVar("T")

# Kept free at the end of a lease, to commit what came.
COMMIT = timedelta(seconds=3)
NO_SECRET = Failure(FailureKind.OPERATOR, FailureCode.CLIENT_REFUSED)
NO_TIME = Failure(FailureKind.MOMENT, FailureCode.UNREACHABLE)


async def clients_of(deps: Deps, config: ProviderConfig) -> list[ClientCredentials]:
    """The app as it may show itself: first with its current client secret, then with the one before (24 h long)."""
    secrets = await configs.client_secrets(deps.db, deps.sealer, config.id, deps.clock())
    return [ClientCredentials(config.client_id, secret) for secret in secrets]


async def as_the_app(
    deps: Deps,
    clients: Sequence[ClientCredentials],
    flow_of: Callable[[ClientCredentials], Flow[T | Failure]],
    until: datetime,
) -> T | Failure:
    """Drive the flow, as the next of `clients` only if the provider refused the one before as a client.

    Nothing is begun after `until`: a call without time would read as sent and in doubt.
    """
    answer: T | Failure = NO_SECRET
    for client in clients:
        left = until - deps.clock()
        if left <= timedelta(0):
            return NO_TIME if answer is NO_SECRET else answer
        answer = await deps.http.drive(flow_of(client), min(deps.limits.http, left))
        if not (isinstance(answer, Failure) and answer.code == FailureCode.CLIENT_REFUSED):
            return answer
    return answer
