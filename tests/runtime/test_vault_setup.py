from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.dev_keys import dev_keys_file, ensure_dev_keys, read_dev_keys
from runtime.errors import StartError
from runtime.keys import development_key_file
from runtime.settings import Settings
from runtime.vault_setup import (
    add_api_key,
    check_vault,
    list_api_keys,
    open_database,
    open_vault,
    revoke_api_key,
    rewrap_data_keys,
)

Build = Callable[..., Settings]


@pytest.fixture
async def settings(settings_with: Build) -> Settings:
    """Development settings over a migrated vault that has sealed something."""
    settings = settings_with(env="development")
    await check_vault(settings)
    async with open_vault(settings) as vault:
        await vault.keys.data_key("default")
    return settings


async def test_a_database_that_was_not_migrated_names_the_command(settings_with: Build, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(StartError, match=r"^AUTHPIPE_DATABASE_URL: .* run `authpipe migrate`$"):
        async with open_database(settings_with()):
            pass


async def test_a_database_that_does_not_answer_gives_one_line(settings_with: Build) -> None:
    settings = settings_with(database_url="postgresql://u:s3cr3t@127.0.0.1:1/x", env="development")
    for opening in (check_vault(settings), open_database(settings).__aenter__()):
        with pytest.raises(StartError) as caught:
            await opening
        assert "\n" not in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


async def test_a_vault_whose_key_is_lost_is_not_given_a_new_one_in_silence(settings: Settings) -> None:
    development_key_file(settings).unlink()
    with pytest.raises(StartError, match="which was not given"):
        await check_vault(settings)


async def test_a_wrong_key_under_the_same_id_is_noticed_at_start(settings: Settings, settings_with: Build) -> None:
    key_id = development_key_file(settings).read_text().partition(":")[0]
    wrong = settings_with(env="development", key_encryption_key=f"{key_id}:{'A' * 43}=")
    with pytest.raises(StartError, match="wrong key-encryption key"):
        await check_vault(wrong)


async def test_keys_are_made_listed_and_revoked(settings: Settings) -> None:
    key_id, key = await add_api_key(settings, "default", "first", "publishable")
    ((listed, role, _made, name),) = await list_api_keys(settings, "default")
    assert (listed, role, name) == (key_id, "publishable", "first")
    assert key not in str(await list_api_keys(settings, "default"))
    await revoke_api_key(settings, "default", key_id)
    assert await list_api_keys(settings, "default") == []
    with pytest.raises(StartError, match="has no such key"):
        await revoke_api_key(settings, "default", key_id)


async def test_development_keeps_its_two_keys(settings: Settings) -> None:
    keys = await ensure_dev_keys(settings)
    assert await ensure_dev_keys(settings) == keys
    assert read_dev_keys(settings.data_dir) == keys
    assert dev_keys_file(settings.data_dir).stat().st_mode & 0o777 == 0o600
    assert "ap_sk" not in repr(keys)


async def test_a_new_vault_gets_new_development_keys(settings: Settings) -> None:
    keys = await ensure_dev_keys(settings)
    await revoke_api_key(settings, "default", keys.secret_id)
    assert (await ensure_dev_keys(settings)).secret != keys.secret


async def test_the_data_keys_are_wrapped_anew_by_the_first_key(settings: Settings, settings_with: Build) -> None:
    async with open_vault(settings) as vault:
        sealed_under = await vault.keys.data_key("default")
    old = development_key_file(settings).read_text().strip()
    new = f"key2:{'A' * 43}="
    both = settings_with(env="development", key_encryption_key=f"{new},{old}")
    assert await rewrap_data_keys(both, lambda _done: None) == 1
    assert await rewrap_data_keys(both, lambda _done: None) == 0
    async with open_vault(settings_with(env="development", key_encryption_key=new)) as vault:
        assert await vault.keys.data_key("default") == sealed_under
    with pytest.raises(StartError, match="'key2', which was not given"):
        await rewrap_data_keys(settings, lambda _done: None)
