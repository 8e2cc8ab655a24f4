"""Which vault this is: a digest that only the holder of database and key can make, and that says nothing else.

Every process over one vault has the same one, so it tells whether an address leads to this vault's API. It is no
secret, and nothing follows from it: it is derived, for this purpose alone, from the data key of a workspace.
"""

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.keys import DataKeyHandle, Keys

WORKSPACE = "default"
BYTES = 16


async def instance_of(keys: Keys) -> str:
    """The vault's digest, in hex. The first to ask makes the data key, as the first secret would."""
    return _digest(await keys.data_key(WORKSPACE))


async def known_instance(keys: Keys) -> str | None:
    """The same; None where nobody has asked yet and nothing was sealed."""
    key = await keys.living_key(WORKSPACE)
    return None if key is None else _digest(key)


def _digest(key: DataKeyHandle) -> str:
    return HKDF(SHA256(), length=BYTES, salt=None, info=b"authpipe instance").derive(key.secret).hex()
