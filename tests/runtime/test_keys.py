import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import KeyRingError
from runtime.keys import development_key_file, load_key_ring, parse_key_ring
from runtime.settings import Settings

KEY = bytes(range(32))
TEXT = base64.b64encode(KEY).decode()


def test_development_makes_a_key_once_that_only_its_owner_reads(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(env="development")
    ring = load_key_ring(settings)
    assert [len(key) for key in ring.values()] == [32]
    assert development_key_file(settings).stat().st_mode & 0o777 == 0o600
    assert development_key_file(settings).parent.stat().st_mode & 0o777 == 0o700
    assert load_key_ring(settings) == ring


def test_production_without_a_key_does_not_start(settings_with: Callable[..., Settings]) -> None:
    with pytest.raises(KeyRingError, match="no key-encryption key is set"):
        load_key_ring(settings_with())


def test_the_first_key_is_the_one_that_seals(settings_with: Callable[..., Settings]) -> None:
    other = base64.b64encode(bytes(32)).decode()
    ring = load_key_ring(settings_with(key_encryption_key=f"new:{other}, old:{TEXT}"))
    assert list(ring.items()) == [("new", bytes(32)), ("old", KEY)]


def test_a_file_holds_one_key_a_line(settings_with: Callable[..., Settings], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"new:{TEXT}\n\nold:{TEXT}\n")
    assert list(load_key_ring(settings_with(key_encryption_key_file=file))) == ["new", "old"]


def test_an_absent_file_is_named(settings_with: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="keys: the key file cannot be read"):
        load_key_ring(settings_with(key_encryption_key_file=tmp_path / "keys"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_gives_one_line(settings_with: Callable[..., Settings], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(KeyRingError, match="cannot be written"):
        load_key_ring(settings_with(env="development"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT, "key 1 has no id"),
        ("bad id:" + TEXT, "key 1 has no id"),
        ("k:" + TEXT[:5] + "!?" + TEXT[5:], 'key "k" is not valid base64'),
        ("k:" + TEXT[:-5], 'key "k" is not valid base64'),
        ("k:" + base64.b64encode(KEY[:31]).decode(), 'key "k" has 31 bytes, not 32'),
        (f"k:{TEXT},k:{TEXT}", 'two keys have the id "k"'),
        (" \n,", "holds no key"),
    ],
)
def test_a_malformed_key_gives_one_line_without_the_key(text: str, said: str) -> None:
    with pytest.raises(KeyRingError) as caught:
        parse_key_ring(text, "SOURCE")
    line = str(caught.value)
    assert line.startswith(f"SOURCE: {said}")
    assert "\n" not in line
    assert TEXT[:-5] not in line
