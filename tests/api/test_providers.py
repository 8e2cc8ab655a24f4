import httpx
import pytest

PATHS = ("/providers/jira", "/api/providers/jira")


async def test_the_catalog_is_listed_with_a_total(client: httpx.AsyncClient) -> None:
    body = (await client.get("/providers")).json()
    assert [p["id"] for p in body["providers"]] == ["jira", "plain"]
    assert (body["total"], body["limit"], body["offset"]) == (len(body["providers"]), 50, 0)


async def test_a_page_of_the_catalog_keeps_the_whole_total(client: httpx.AsyncClient) -> None:
    whole = (await client.get("/providers")).json()
    page = (await client.get("/providers", params={"limit": 1, "offset": whole["total"]})).json()
    assert (page["providers"], page["total"]) == ([], whole["total"])


async def test_the_catalog_is_narrowed_by_category_and_text(client: httpx.AsyncClient) -> None:
    async def found(**params: str) -> list[str]:
        return [p["id"] for p in (await client.get("/providers", params=params)).json()["providers"]]

    assert "jira" in await found(category="project-management", search="ISSUES")
    assert await found(category="none-such") == []
    assert await found(search="none-such") == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_provider_tells_how_to_set_it_up(client: httpx.AsyncClient, path: str) -> None:
    jira = (await client.get(path)).json()
    assert (jira["name"], jira["auth_user"], jira["auth_api_key"]) == ("Jira", True, False)
    assert jira["setup_instructions"]["steps"]


@pytest.mark.parametrize("path", ["/providers/nope", "/api/providers/nope", "/providers/%00"])
async def test_an_unknown_provider_is_said_to_be_unknown(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "provider_unknown")


async def test_providers_are_searched_like_everything_else(client: httpx.AsyncClient) -> None:
    async def search(**body: object) -> dict[str, object]:
        answer = await client.post("/api/providers/search", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    wanted = {"id": {"eq": "jira"}, "auth_user": {"eq": True}, "name": {"contains": "JIR"}, "category": {"ne": "other"}}
    assert (await search(filter=wanted, fields=["name"]))["data"] == [{"id": "jira", "name": "Jira"}]
    assert (await search(filter={"id": {"in": []}}))["data"] == []
    assert (await search(filter={"installation_type": {"exists": False}, "id": {"eq": "jira"}}))["data"] == []


async def test_paging_through_providers_shows_each_one_once(client: httpx.AsyncClient) -> None:
    every = [p["id"] for p in (await client.get("/providers")).json()["providers"]]
    seen: list[str] = []
    cursor = ""
    for _ in every:
        body = {"limit": 1, "cursor": cursor, "sort": [{"field": "category"}]}
        page = (await client.post("/api/providers/search", json=body)).json()
        seen += [p["id"] for p in page["data"]]
        if not page["has_more"]:
            break
        cursor = page["next_cursor"]
    assert sorted(seen) == every
    assert seen == ["plain", "jira"]  # categories "other", "project-management"


async def test_the_catalog_is_for_secret_keys(client_with, new_key) -> None:
    assert (await client_with("").get("/providers")).status_code == 401
    assert (await client_with(await new_key(role="publishable")).get("/providers")).status_code == 403
