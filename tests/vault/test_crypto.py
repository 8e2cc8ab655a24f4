import dataclasses

import pytest

from vault.crypto import Owner, SealBroken, Sealer, fingerprint, key_id_of
from vault.keys import DataKeyHandle, Keys
from vault.labelled import labelled

CANARY = "canary-3f9c1e-token"
OWNER = Owner("default", "acme", "life", "conn_1")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Sealing is the same over both databases; `test_keys` has what is not."""
    return sqlite_url


@pytest.fixture
async def sealed(sealer: Sealer) -> bytes:
    return await sealer.seal(OWNER, "access", 7, CANARY)


async def test_a_secret_opens_where_it_was_sealed(sealer: Sealer, sealed: bytes) -> None:
    assert await sealer.open(OWNER, "access", 7, sealed) == CANARY


async def test_the_plaintext_is_not_in_the_sealed_value(sealed: bytes) -> None:
    assert CANARY.encode() not in sealed


async def test_sealing_twice_gives_two_different_values(sealer: Sealer, sealed: bytes) -> None:
    assert await sealer.seal(OWNER, "access", 7, CANARY) != sealed


@pytest.mark.parametrize(
    ("moved", "field", "version"),
    [
        ({"workspace_id": "other"}, "access", 7),
        ({"tenant_id": "globex"}, "access", 7),
        ({"tenant_id": ""}, "access", 7),
        ({"kind": "auth_session"}, "access", 7),
        ({"id": "conn_2"}, "access", 7),
        ({}, "refresh", 7),
        ({}, "access", 8),
    ],
)
async def test_law_08_a_ciphertext_opens_only_where_it_was_sealed(
    sealer: Sealer, sealed: bytes, moved: dict[str, str], field: str, version: int
) -> None:
    elsewhere = dataclasses.replace(OWNER, **moved)
    await sealer.seal(elsewhere, field, version, "so that the other owner has a key of its own")
    with pytest.raises(SealBroken):
        await sealer.open(elsewhere, field, version, sealed)


async def test_the_key_of_another_tenant_does_not_open_even_a_ciphertext_of_the_same_place(
    keys: Keys, sealer: Sealer, sealed: bytes
) -> None:
    theirs = (await keys.data_key("default", "globex")).id
    assert len(theirs) == len(key_id_of(sealed))
    with pytest.raises(SealBroken):
        await sealer.open(OWNER, "access", 7, sealed.replace(key_id_of(sealed).encode(), theirs.encode()))


async def test_every_changed_byte_breaks_the_seal(sealer: Sealer, sealed: bytes) -> None:
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealBroken):
            await sealer.open(OWNER, "access", 7, changed)


@pytest.mark.parametrize("length", range(0, 66, 5))
async def test_a_cut_value_breaks_the_seal(sealer: Sealer, sealed: bytes, length: int) -> None:
    with pytest.raises(SealBroken):
        await sealer.open(OWNER, "access", 7, sealed[:length])


async def test_a_broken_seal_tells_nothing(sealer: Sealer, sealed: bytes) -> None:
    with pytest.raises(SealBroken) as caught:
        await sealer.open(OWNER, "refresh", 7, sealed)
    assert caught.value.__cause__ is None
    assert not any(text in str(caught.value) for text in (CANARY, key_id_of(sealed), "conn_1", "refresh"))


async def test_a_sealed_value_names_the_data_key_that_opens_it(keys: Keys, sealed: bytes) -> None:
    assert key_id_of(sealed) == (await keys.data_key("default", "acme")).id


def test_parts_cannot_be_moved_across_their_borders() -> None:
    assert labelled("ab", "c") != labelled("a", "bc")
    assert labelled("a", "") != labelled("a")


def test_a_fingerprint_is_equal_for_equal_secrets_of_one_tenant_only() -> None:
    ours, theirs = DataKeyHandle("dek_1", b"1" * 32), DataKeyHandle("dek_2", b"2" * 32)
    assert fingerprint(ours, CANARY) == fingerprint(ours, CANARY)
    assert fingerprint(ours, CANARY) != fingerprint(ours, CANARY + "x")
    assert fingerprint(ours, CANARY) != fingerprint(theirs, CANARY)


def test_a_data_key_does_not_show_its_secret() -> None:
    assert "111" not in repr(DataKeyHandle("dek_1", b"1" * 32))
