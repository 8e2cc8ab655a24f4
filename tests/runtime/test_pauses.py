import asyncio
from pathlib import Path

import pytest

from domain.points import Point
from runtime.errors import SettingsError
from runtime.pauses import Pauses
from runtime.settings import load_settings

POINT = Point.REFRESH_AFTER_INTENT


async def test_a_point_nobody_asked_for_is_passed(tmp_path: Path) -> None:
    (tmp_path / f"{POINT}@other").touch()
    await asyncio.wait_for(Pauses(tmp_path)(POINT, "conn_1"), 5)


async def test_a_point_holds_until_its_file_is_gone_and_only_once(tmp_path: Path) -> None:
    (tmp_path / f"{POINT}@conn_1").touch()
    pauses = Pauses(tmp_path)
    held = asyncio.create_task(pauses(POINT, "conn_1"))
    reached = tmp_path / f"{POINT}@conn_1.reached"
    while not reached.exists():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not held.done()
    reached.unlink()
    await asyncio.wait_for(held, 5)
    await asyncio.wait_for(pauses(POINT, "conn_1"), 5)


def test_production_takes_no_pauses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTHPIPE_PAUSE_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match="AUTHPIPE_PAUSE_DIR: is for development only"):
        load_settings()
    assert load_settings(env="development").pause_dir == tmp_path
