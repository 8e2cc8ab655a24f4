"""Sealing secrets: AES-256-GCM (NIST SP 800-38D). A ciphertext opens only where it was sealed.

A sealed value: format (1 byte), length of the data key's id (1 byte), that id, nonce (12 bytes), ciphertext with tag.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.keys import NONCE_BYTES, DataKeyHandle, Keys
from vault.labelled import labelled

FORMAT = 1
TAG_BYTES = 16


class SealBroken(Exception):
    """The ciphertext does not open here: it was changed, moved, or its data key was destroyed. It never says which."""

    code = "seal_broken"

    def __init__(self) -> None:
        super().__init__("a sealed secret does not open where it was found; connect again to replace it")


@dataclass(frozen=True, slots=True)
class Owner:
    """The row a secret belongs to. An empty tenant stands for the workspace itself."""

    workspace_id: str
    tenant_id: str
    kind: str
    id: str


class Sealer:
    """Seals and opens the secrets of rows. Seal before opening a transaction: a tenant's first seal stores its key."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    async def seal(self, owner: Owner, field: str, version: int, plaintext: str) -> bytes:
        """The sealed form of `plaintext`, bound to this owner, field and version."""
        return (await self.seal_together(owner, version, {field: plaintext}))[field]

    async def seal_together(self, owner: Owner, version: int, plaintexts: Mapping[str, str]) -> dict[str, bytes]:
        """Several fields of one version, each sealed for its own; the store is asked for the key once."""
        key = await self.keys.data_key(owner.workspace_id, owner.tenant_id)
        return {field: _sealed(key, _place(owner, field, version), text) for field, text in plaintexts.items()}

    async def open(self, owner: Owner, field: str, version: int, sealed: bytes) -> str:
        """The plaintext. Raises `SealBroken`, or a `KeyRingError` where the operator's keys are at fault."""
        key_id, nonce, ciphertext = _parts(sealed)
        key = await self.keys.opening_key(owner.workspace_id, owner.tenant_id, key_id)
        if key is None:
            raise SealBroken
        try:
            return AESGCM(key.secret).decrypt(nonce, ciphertext, _place(owner, field, version)).decode()
        except InvalidTag:
            raise SealBroken from None


def _sealed(key: DataKeyHandle, place: bytes, plaintext: str) -> bytes:
    nonce, key_id = os.urandom(NONCE_BYTES), key.id.encode()
    ciphertext = AESGCM(key.secret).encrypt(nonce, plaintext.encode(), place)
    return bytes((FORMAT, len(key_id))) + key_id + nonce + ciphertext


def key_id_of(sealed: bytes) -> str:
    """The id of the data key that sealed it. Raises `SealBroken` if it is no sealed value."""
    return _parts(sealed)[0]


def fingerprint(key: DataKeyHandle, value: str) -> str:
    """A keyed digest (HMAC-SHA256, hex): tells whether two secrets of one tenant are equal, and nothing else."""
    subkey = HKDF(SHA256(), length=32, salt=None, info=b"authpipe fingerprint").derive(key.secret)
    return hmac.new(subkey, value.encode(), hashlib.sha256).hexdigest()


def _place(owner: Owner, field: str, version: int) -> bytes:
    return labelled("authpipe secret", owner.workspace_id, owner.tenant_id, owner.kind, owner.id, field, str(version))


def _parts(sealed: bytes) -> tuple[str, bytes, bytes]:
    start = 2 + sealed[1] if len(sealed) > 1 else 0
    if len(sealed) < start + NONCE_BYTES + TAG_BYTES or sealed[:1] != bytes((FORMAT,)):
        raise SealBroken
    try:
        key_id = sealed[2:start].decode("ascii")
    except UnicodeDecodeError:
        raise SealBroken from None
    return key_id, sealed[start : start + NONCE_BYTES], sealed[start + NONCE_BYTES :]
