"""Envelope encryption: a data key per (workspace, tenant), wrapped by a key-encryption key from the ring.

An empty tenant names the workspace's own data key. Destroying a wrapped key makes all it sealed unreadable for ever.
"""

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.ids import new_id
from vault.key_store import KeyStore, WrappedKey
from vault.labelled import labelled

KEY_BYTES = 32
NONCE_BYTES = 12
CACHED_KEYS = 4096
CACHED_SECONDS = 300.0
"""How long another process may still read with a key that was destroyed. It never seals with one."""


class KeyRingError(Exception):
    """The key ring does not fit the vault; the message is one line for the operator."""

    code = "key_ring"


class KeyEncryptionKeyMissing(KeyRingError):
    """A data key is wrapped by a key-encryption key that the ring lacks."""

    def __init__(self, kek_id: str) -> None:
        self.kek_id = kek_id
        super().__init__(f"the vault needs the key-encryption key '{kek_id}', which was not given; add it to the keys")


class KeyEncryptionKeyWrong(KeyRingError):
    """The ring has a key of that id, but it is not the one that wrapped the vault's data keys."""

    def __init__(self, kek_id: str) -> None:
        self.kek_id = kek_id
        super().__init__(f"wrong key-encryption key '{kek_id}': it does not open this vault; give the original key")


@dataclass(frozen=True, slots=True)
class DataKeyHandle:
    """An unwrapped data key. Keep it no longer than the call that needs it."""

    id: str
    secret: bytes = field(repr=False)


class KeyRing:
    """Key-encryption keys by id, 32 bytes each; new data keys are wrapped by the active one."""

    def __init__(self, keys: Mapping[str, bytes], active: str) -> None:
        for kek_id, key in keys.items():
            if len(key) != KEY_BYTES:
                raise KeyRingError(f"the key-encryption key '{kek_id}' must have 32 bytes, it has {len(key)}")
        if active not in keys:
            raise KeyEncryptionKeyMissing(active)
        self.active = active
        self._keys = dict(keys)

    def wrap(self, key: WrappedKey, secret: bytes) -> WrappedKey:
        """`key` with `secret` wrapped by the active key-encryption key."""
        wrapping = replace(key, kek_id=self.active)
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCM(self._keys[self.active]).encrypt(nonce, secret, _identity(wrapping))
        return replace(wrapping, wrapped=nonce + sealed)

    def unwrap(self, key: WrappedKey) -> bytes:
        """The data key itself. Raises `KeyEncryptionKeyMissing` or `KeyEncryptionKeyWrong`."""
        if key.kek_id not in self._keys:
            raise KeyEncryptionKeyMissing(key.kek_id)
        nonce, sealed = key.wrapped[:NONCE_BYTES], key.wrapped[NONCE_BYTES:]
        try:
            return AESGCM(self._keys[key.kek_id]).decrypt(nonce, sealed, _identity(key))
        except (InvalidTag, ValueError):
            raise KeyEncryptionKeyWrong(key.kek_id) from None


def _identity(key: WrappedKey) -> bytes:
    return labelled("authpipe data key", key.workspace_id, key.tenant_id, key.id, key.kek_id)


@dataclass(frozen=True, slots=True)
class _Unwrapped:
    owner: tuple[str, str]
    handle: DataKeyHandle
    until: float


class Keys:
    """Data keys, made on first use and kept unwrapped in this process for a short while."""

    def __init__(self, store: KeyStore, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._ring = ring
        self._clock = clock
        self._cache: OrderedDict[str, _Unwrapped] = OrderedDict()

    async def data_key(self, workspace_id: str, tenant_id: str = "") -> DataKeyHandle:
        """The owner's living key. It asks the store each time: what a destroyed key sealed would be lost."""
        living = await self.living_key(workspace_id, tenant_id)
        if living is not None:
            return living
        secret = secrets.token_bytes(KEY_BYTES)
        blank = WrappedKey(new_id("dek"), workspace_id, tenant_id, kek_id="", wrapped=b"")
        # Another process may have been first; its key is then the owner's.
        await self._store.put(self._ring.wrap(blank, secret), self._clock())
        return await self.data_key(workspace_id, tenant_id)

    async def living_key(self, workspace_id: str, tenant_id: str = "") -> DataKeyHandle | None:
        """The owner's living key, if it has one."""
        wrapped = await self._store.find(workspace_id, tenant_id)
        return None if wrapped is None else self._unwrapped(wrapped).handle

    async def opening_key(self, workspace_id: str, tenant_id: str, key_id: str) -> DataKeyHandle | None:
        """The owner's key of that id, usually from memory; None if it is unknown, destroyed or another owner's."""
        known = self._cache.get(key_id)
        if known is None or monotonic() > known.until:
            wrapped = await self._store.get(key_id)
            known = None if wrapped is None else self._unwrapped(wrapped)
        return known.handle if known is not None and known.owner == (workspace_id, tenant_id) else None

    async def destroy(self, workspace_id: str, tenant_id: str) -> None:
        """Destroy the owner's key, and with it everything sealed under it. A later first use makes a new one."""
        await self._store.destroy(workspace_id, tenant_id, self._clock())
        for key_id in [i for i, known in self._cache.items() if known.owner == (workspace_id, tenant_id)]:
            del self._cache[key_id]

    async def rewrap(self, told: Callable[[int], None] = lambda _changed: None) -> int:
        """Wrap every data key by the active key-encryption key, online; answers how many were changed.

        `told` hears how many so far.
        """
        changed = 0
        while batch := await self._store.not_wrapped_by(self._ring.active, limit=100):
            for key in batch:
                changed += await self._store.rewrap(self._ring.wrap(key, self._ring.unwrap(key)), key.kek_id)
            told(changed)
        return changed

    async def check(self) -> None:
        """At start: one data key of each key-encryption key must open. Raises a `KeyRingError` otherwise."""
        for fault in await self.faults():
            raise fault

    async def faults(self) -> list[KeyRingError]:
        """What is wrong with each key-encryption key that this vault needs."""
        tried = [self._fault(sample) for sample in await self._store.samples()]
        return [fault for fault in tried if fault is not None]

    def _fault(self, sample: WrappedKey) -> KeyRingError | None:
        try:
            self._ring.unwrap(sample)
        except KeyRingError as fault:
            return fault
        return None

    def _unwrapped(self, wrapped: WrappedKey) -> _Unwrapped:
        handle = DataKeyHandle(wrapped.id, self._ring.unwrap(wrapped))
        known = _Unwrapped((wrapped.workspace_id, wrapped.tenant_id), handle, monotonic() + CACHED_SECONDS)
        self._cache[wrapped.id] = known
        self._cache.move_to_end(wrapped.id)
        if len(self._cache) > CACHED_KEYS:
            self._cache.popitem(last=False)
        return known
