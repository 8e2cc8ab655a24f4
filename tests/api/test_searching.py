"""The same searches on both databases, through the route."""

import base64
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.life import Kind, Status


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture
def search(client: httpx.AsyncClient) -> Any:
    async def ask(**body: Any) -> dict[str, Any]:
        answer = await client.post("/api/connections/search", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return ask


@pytest.fixture
def users(search: Any) -> Any:
    async def ask(**body: Any) -> list[str]:
        return [c["user_id"] for c in (await search(**body))["data"]]

    return ask


async def test_a_search_shows_what_was_active_once_in_this_workspace(users: Any, new_life: Any, now: Any) -> None:
    await new_life(user_id="mine")
    await new_life(user_id="foreign", workspace_id="another")
    await new_life(user_id="pending", status=Status.PENDING, connected_at=None, generation=0)
    await new_life(Kind.INSTALLATION)
    await new_life(user_id="gone", status=Status.REVOKED, deleted_at=now, generation=0)
    assert sorted(await users()) == ["gone", "mine"]


async def test_the_newest_comes_first(users: Any, new_life: Any, clock: Any) -> None:
    for name in ("first", "second", "third"):
        await new_life(user_id=name)
        clock.advance(minutes=1)
    assert await users() == ["third", "second", "first"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"tenant_id": {"eq": "acme"}}, {"ann", "bob"}),
        ({"tenant_id": {"ne": "acme"}}, {"cid"}),
        ({"user_id": {"in": ["ann", "cid", "nobody"]}}, {"ann", "cid"}),
        ({"user_id": {"in": []}}, set()),
        ({"external_user_id": {"contains": "50%_A"}}, {"bob"}),
        ({"installation_id": {"exists": True}}, {"ann"}),
        ({"installation_id": {"exists": False}}, {"bob", "cid"}),
        ({"token_expires_at": {"exists": False}}, {"cid"}),
        ({"token_expires_at": {"ne": "2026-03-01T13:00:00Z"}}, {"bob", "cid"}),
        ({"token_expires_at": {"eq": "2026-03-01T14:00:00+01:00"}}, {"ann"}),
        ({"token_expires_at": {"gt": "2026-03-01T13:00:00Z", "lte": "2026-03-01T14:00:00Z"}}, {"bob"}),
        ({"token_expires_at": {"gte": "2026-03-01T13:00:00Z"}, "tenant_id": {"eq": "acme"}}, {"ann", "bob"}),
        ({"connected_at": {"lt": "2026-03-01T12:00:00Z"}}, set()),
        ({"status": {"eq": "revoked"}}, {"cid"}),
        ({"status": {"in": ["active", "needs_reauth"]}}, {"ann", "bob"}),
        ({"tenant_id": {"eq": "' OR 1=1 --"}}, set()),
    ],
)
async def test_every_comparison_finds_what_it_says(
    users: Any, new_life: Any, now: Any, wanted: dict[str, Any], found: set[str]
) -> None:
    await new_life(user_id="ann", installation_id="inst_1", expires_at=now + timedelta(hours=1))
    await new_life(user_id="bob", account_id="50%_a", expires_at=now + timedelta(hours=2))
    await new_life(user_id="cid", tenant_id="globex", account_id="50xya", expires_at=None, deleted_at=now)
    assert set(await users(filter=wanted)) == found


async def test_text_is_looked_for_whatever_its_case(users: Any, new_life: Any) -> None:
    await new_life(user_id="ann", site_name="Acme Rockets 2000")
    await new_life(user_id="100%")
    assert await users(query=" ROCKETS ") == ["ann"]
    assert await users(query="0%") == ["100%"]
    assert await users(query="none") == []


@pytest.mark.parametrize(
    "sort",
    [
        [],
        [{"field": "id"}],
        [{"field": "tenant_id"}, {"field": "user_id", "direction": "desc"}],
        [{"field": "token_expires_at", "direction": "desc"}],
        [{"field": "token_expires_at"}, {"field": "tenant_id", "direction": "desc"}],
        [{"field": "status"}, {"field": "tenant_id"}, {"field": "tenant_id", "direction": "desc"}],
    ],
)
async def test_paging_shows_each_row_once_and_in_order(
    search: Any, users: Any, new_life: Any, now: Any, sort: list[dict[str, str]]
) -> None:
    for n in range(7):
        expires = None if n % 3 == 0 else now + timedelta(hours=n % 2)
        await new_life(user_id=f"u{n}", tenant_id=f"t{n % 2}", expires_at=expires)
    whole = await users(sort=sort)
    seen: list[str] = []
    body: dict[str, Any] = {"limit": 2, "sort": sort}
    for _ in range(7):
        page = await search(**body)
        seen += [c["user_id"] for c in page["data"]]
        assert page["has_more"] is ("next_cursor" in page)
        if not page["has_more"]:
            break
        body["cursor"] = page["next_cursor"]
    assert len(seen) == 7
    assert seen == whole


async def test_nothing_outranks_the_first_field_of_a_sort(search: Any, new_life: Any) -> None:
    made = [(await new_life(tenant_id=f"t{n}")).id for n in range(4)]
    found = await search(sort=[{"field": "id", "direction": "desc"}, {"field": "tenant_id"}])
    assert [c["id"] for c in found["data"]] == sorted(made, reverse=True)


async def test_an_absent_time_is_sorted_last(users: Any, new_life: Any, now: Any) -> None:
    await new_life(user_id="never", expires_at=None)
    await new_life(user_id="soon", expires_at=now)
    assert await users(sort=[{"field": "token_expires_at"}]) == ["soon", "never"]
    assert await users(sort=[{"field": "token_expires_at", "direction": "desc"}]) == ["never", "soon"]


async def test_an_offset_passes_over_rows(users: Any, new_life: Any) -> None:
    for n in range(3):
        await new_life(user_id=f"u{n}")
    assert await users(sort=[{"field": "user_id"}], offset=1, limit=1) == ["u1"]


async def test_only_the_fields_that_are_asked_for_are_answered(search: Any, new_life: Any) -> None:
    life = await new_life()
    assert (await search(fields=["status", "reason"]))["data"] == [{"id": life.id, "status": "active"}]


def cursor(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"filter": {"secret": {"eq": "x"}}}, "'secret'; it takes attachment, connected_at"),
        ({"filter": {"tenant_id": {"like": "x"}}}, "'like'; it takes contains, eq"),
        ({"filter": {"tenant_id": {"gt": "x"}}}, "'gt'"),
        ({"filter": {"tenant_id": {"eq": 1}}}, "compared with text"),
        ({"filter": {"tenant_id": {"eq": None}}}, "compared with text"),
        ({"filter": {"tenant_id": {"in": "x"}}}, "takes a list"),
        ({"filter": {"tenant_id": {"in": ["x"] * 101}}}, "at most 100"),
        ({"filter": {"tenant_id": {"exists": "yes"}}}, "true or false"),
        ({"filter": {"connected_at": {"gt": "yesterday"}}}, "with its zone"),
        ({"filter": {"connected_at": {"gt": "2026-03-01T12:00:00"}}}, "with its zone"),
        ({"filter": {"connected_at": {"gt": "0001-01-01T00:00:00+23:00"}}}, "with its zone"),
        ({"filter": {"tenant_id": {"eq": "a\0b"}}}, "characters that no text has"),
        ({"filter": {"tenant_id": {"eq": "x" * 3000}}}, "over-long"),
        ({"filter": {"tenant_id": "acme"}}, "dictionary"),
        ({"query": "\0"}, "characters that no text has"),
        ({"sort": [{"field": "nope"}]}, "'nope'"),
        ({"sort": [{"field": "id", "direction": "up"}]}, "'asc' or 'desc'"),
        ({"fields": ["nope"]}, "'nope'"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10**30}, "offset"),
        ({"cursor": cursor(["2026-03-01T12:00:00Z", "x"]), "offset": 1}, "exclude each other"),
        ({"cursor": "%%%"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": cursor(["2026-03-01T12:00:00Z"])}, "cursor"),
        ({"cursor": cursor([1, 2])}, "cursor"),
        ({"cursor": cursor(["2026-03-01T12:00:00Z", "\0"])}, "cursor"),
        ({"cursor": cursor(["2026-03-01T12:00:00Z", "\ud800"])}, "cursor"),
        ({"cursor": cursor({"a": 1})}, "cursor"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # refused before either is asked
async def test_what_cannot_be_searched_is_named(client: httpx.AsyncClient, body: dict[str, Any], said: str) -> None:
    answer = await client.post("/api/connections/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_request"), answer.text
    assert said in answer.json()["detail"]
    assert answer.json()["errors"]


async def test_a_cursor_of_a_stranger_shows_nothing_of_theirs(
    search: Any, stranger: httpx.AsyncClient, new_life: Any
) -> None:
    for n in range(2):
        await new_life(user_id=f"theirs-{n}", workspace_id="another")
    theirs = (await stranger.post("/api/connections/search", json={"limit": 1})).json()["next_cursor"]
    assert (await search(cursor=theirs))["data"] == []
