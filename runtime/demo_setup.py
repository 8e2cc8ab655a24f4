"""The demo's own wiring: which provider `authpipe dev` swaps for the simulator, and the app it registers there.

The only file of this room that names a provider; development alone reads it.
"""

from typing import Any

import httpx

from api.deps import DemoPlaces
from runtime.errors import StartError
from runtime.settings import Settings

PROVIDER = "jira"
# The app that the simulator knows from the start. It opens nothing anywhere else.
CLIENT_ID = "authpipe-dev"
CLIENT_SECRET = "authpipe-dev-secret"
CALLBACK_PATH = "/oauth/callback"


def simulator_origin(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.simulator_port}"


def temporal_ui(settings: Settings) -> str:
    return f"http://localhost:{settings.temporal_ui_port}"


def demo_places(settings: Settings) -> DemoPlaces:
    """What the demo page is made of."""
    here = (settings.public_url, *(f"http://{host}:{settings.api_port}" for host in ("localhost", "127.0.0.1")))
    return DemoPlaces(PROVIDER, CLIENT_ID, here, simulator_origin(settings), temporal_ui(settings))


def development_origins(settings: Settings) -> dict[str, str]:
    """What `AUTHPIPE_PROVIDER_ORIGINS` is under `authpipe dev`, unless it is set."""
    return settings.provider_origins or {PROVIDER: simulator_origin(settings)}


def development_config(settings: Settings) -> dict[str, Any]:
    """The provider config that a fresh development folder begins with."""
    return {
        "provider_id": PROVIDER,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "display_name": "Demo product",
        "oauth_redirect_url": settings.public_url + CALLBACK_PATH,
        "attachment": "user",
        "enabled": True,
        "trust_publishable_sessions": True,
    }


async def ensure_development_config(settings: Settings, api_url: str, secret_key: str) -> None:
    """Make the config through the API, as a builder would, unless one for the simulator's app is there."""
    headers = {"Authorization": f"Bearer {secret_key}"}
    async with httpx.AsyncClient(base_url=api_url, headers=headers, timeout=10) as client:
        found = await client.post("/api/provider-configs/search", json={"limit": 100})
        if found.is_success and any(_ours(config) for config in found.json()["data"] or ()):
            return
        made = await client.post("/api/provider-configs", json=development_config(settings))
    if not made.is_success:
        raise StartError(f"the API refused the development provider config ({made.status_code}): {made.text[:300]}")


def _ours(config: dict[str, Any]) -> bool:
    return bool(config["provider_id"] == PROVIDER and config["client_id"] == CLIENT_ID)
