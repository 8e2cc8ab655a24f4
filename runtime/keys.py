"""The key-encryption keys: from the environment or a file; in development made at the first start."""

import base64
import binascii
import os
import re
import secrets
from pathlib import Path

from runtime.errors import KeyMissingError, KeyRingError
from runtime.settings import Settings, variable

KEY_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FORM = 'write each as id:base64 of 32 bytes, for example "key1:$(openssl rand -base64 32)"'


def load_key_ring(settings: Settings) -> dict[str, bytes]:
    """Key id → 32 bytes, the key that seals first, the others for opening only.

    Production takes them from `AUTHPIPE_KEY_ENCRYPTION_KEY` or its `_FILE`; development makes one when it has
    neither. Raises `KeyRingError`, one line without any key in it.
    """
    file = development_key_file(settings)
    given = settings.key_encryption_key or settings.key_encryption_key_file
    if settings.development and not given and not file.exists():
        _make(file)
    return read_key_ring(settings)


def read_key_ring(settings: Settings) -> dict[str, bytes]:
    """The same, and none is made. Raises `KeyMissingError` if there is none."""
    if settings.key_encryption_key:
        text = settings.key_encryption_key.get_secret_value()
        return parse_key_ring(text, variable("key_encryption_key"))
    if settings.key_encryption_key_file:
        file = settings.key_encryption_key_file
        return parse_key_ring(_read(file), f"{variable('key_encryption_key_file')} ({file})")
    made = development_key_file(settings)
    if settings.development and made.exists():
        return parse_key_ring(_read(made), str(made))
    raise KeyMissingError(
        f"{variable('key_encryption_key')}: no key-encryption key is set; without one nothing can be sealed. "
        f"Set it or {variable('key_encryption_key_file')}; {_FORM}"
    )


def development_key_file(settings: Settings) -> Path:
    return settings.data_dir / "keys" / "key-encryption-key"


def parse_key_ring(text: str, source: str) -> dict[str, bytes]:
    """Read `id:base64`, separated by commas or line breaks. `source` names where it came from in refusals."""
    ring: dict[str, bytes] = {}
    for number, entry in enumerate((e.strip() for e in re.split(r"[,\n]", text) if e.strip()), start=1):
        key_id, colon, encoded = entry.partition(":")
        if not colon or not _ID.fullmatch(key_id):
            raise KeyRingError(f"{source}: key {number} has no id; {_FORM}")
        if key_id in ring:
            raise KeyRingError(f'{source}: two keys have the id "{key_id}"; give each key an id of its own')
        ring[key_id] = _decode(encoded, f'{source}: key "{key_id}"')
    if not ring:
        raise KeyRingError(f"{source}: holds no key; {_FORM}")
    return ring


def _decode(encoded: str, whose: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise KeyRingError(f"{whose} is not valid base64; {_FORM}") from None
    if len(key) != KEY_BYTES:
        raise KeyRingError(f"{whose} has {len(key)} bytes, not {KEY_BYTES}; {_FORM}")
    return key


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError as error:
        raise KeyRingError(f"{file}: the key file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise KeyRingError(f"{file}: the key file is not text; {_FORM}") from None


def _make(file: Path) -> None:
    # A vault that was sealed with a lost key is noticed when the keys are checked against it.
    text = f"dev-{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, text)
    except OSError as error:
        raise KeyRingError(f"{file}: the key file cannot be written ({error.strerror})") from None


def write_private(file: Path, text: str) -> None:
    """Write a whole file that only its owner can read, or leave what was there."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(file)
