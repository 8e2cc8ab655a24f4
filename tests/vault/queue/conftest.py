"""A workspace whose events go somewhere."""

from typing import Any

import pytest

from vault import endpoints
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import WebhookEndpoint

URL = "https://builder.example.com/events"


@pytest.fixture
async def endpoint(db: Database, sealer: Sealer, clock: Any) -> WebhookEndpoint:
    return (await endpoints.set_url(db, sealer, "default", URL, clock()))[0]
