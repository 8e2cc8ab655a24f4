"""The two API keys of a development folder: kept in the clear for their owner, made anew when the vault is."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from runtime.keys import write_private
from runtime.settings import Settings
from runtime.vault_setup import add_api_key, list_api_keys

WORKSPACE = "default"


@dataclass(frozen=True, slots=True)
class DevKeys:
    """A secret and a publishable key of the workspace `default`."""

    secret_id: str
    secret: str = field(repr=False)
    publishable_id: str
    publishable: str


def dev_keys_file(data_dir: Path) -> Path:
    return data_dir / "dev-keys.json"


def read_dev_keys(data_dir: Path) -> DevKeys | None:
    """The keys of this folder, if `authpipe dev` has made them."""
    try:
        return DevKeys(**json.loads(dev_keys_file(data_dir).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


async def ensure_dev_keys(settings: Settings) -> DevKeys:
    """The folder's keys, made if there are none or if the vault no longer knows them."""
    known = {row[0] for row in await list_api_keys(settings, WORKSPACE)}
    held = read_dev_keys(settings.data_dir)
    if held and {held.secret_id, held.publishable_id} <= known:
        return held
    secret_id, secret = await add_api_key(settings, WORKSPACE, "development", "secret")
    publishable_id, publishable = await add_api_key(settings, WORKSPACE, "development", "publishable")
    made = DevKeys(secret_id, secret, publishable_id, publishable)
    write_private(dev_keys_file(settings.data_dir), json.dumps(asdict(made), indent=2))
    return made
