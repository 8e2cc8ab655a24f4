"""Deliveries to a real receiver on loopback."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from activities.deps import Deps, Limits
from activities.http import ProviderHttp
from activities.outgoing import Outgoing
from domain.addresses import LOOPBACK
from providers.catalog import Catalog
from tests.activities.delivery.builder import Builder, Receiver
from vault.crypto import Sealer
from vault.database import Database


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """What differs between the databases is in `tests/vault/queue`."""
    return sqlite_url


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.up()
    yield receiver
    await receiver.down()


@pytest.fixture
def deps(db: Database, sealer: Sealer, clock: Any) -> Deps:
    http = ProviderHttp.open()
    return Deps(db, sealer, Catalog({}), http, clock, Limits(), outgoing=Outgoing(LOOPBACK))


@pytest.fixture
async def builder(deps: Deps, clock: Any, receiver: Receiver) -> Builder:
    builder = Builder(deps, clock, receiver)
    await builder.listen()
    return builder
