from typing import Any

import httpx


async def test_a_new_key_is_shown_once_and_opens_the_api(client: httpx.AsyncClient, client_with: Any) -> None:
    made = await client.post("/api/api-keys", json={"name": "backend", "role": "secret"})
    assert made.status_code == 201
    listed = await client_with(made.json()["key"]).get("/api/api-keys")
    assert {key["name"] for key in listed.json()} == {"secret key", "backend"}
    assert made.json()["key"] not in listed.text


async def test_a_listed_key_has_id_name_role_and_time(client: httpx.AsyncClient) -> None:
    (key,) = (await client.get("/api/api-keys")).json()
    assert key.pop("id").startswith("key_")
    assert key == {"name": "secret key", "role": "secret", "created_at": "2026-03-01T12:00:00Z"}


async def test_a_publishable_key_may_not_touch_keys(client_with: Any, new_key: Any) -> None:
    page = client_with(await new_key(role="publishable"))
    for answer in (
        await page.get("/api/api-keys"),
        await page.post("/api/api-keys", json={"name": "x", "role": "secret"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_key_may_revoke_itself_and_is_believed_no_more(client: httpx.AsyncClient) -> None:
    (key,) = (await client.get("/api/api-keys")).json()
    assert (await client.delete(f"/api/api-keys/{key['id']}")).status_code == 204
    assert (await client.get("/api/api-keys")).status_code == 401


async def test_a_key_of_another_workspace_is_not_there(client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    (theirs,) = (await stranger.get("/api/api-keys")).json()
    answer = await client.delete(f"/api/api-keys/{theirs['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await stranger.get("/api/api-keys")).status_code == 200


async def test_a_role_that_is_none_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/api-keys", json={"name": "x", "role": "admin"})
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, "body.role")
