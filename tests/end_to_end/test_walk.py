"""The main job on real processes: install, connect, fetch, refresh, delete."""

BOTH = ("Acme Engineering", "Acme Support")
ONE = ("Acme Engineering",)


async def test_a_tenant_installs_a_user_connects_and_the_backend_fetches_a_valid_credential(stack):
    app = await stack.app()
    _, installed = await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    _, connected = await app.consent("/oauth/sessions", "member", ONE, tenant_id="t", user_id="u")
    assert installed.said["status"] == connected.said["status"] == "completed"

    of_user = (await app.read("t", "u")).json()
    of_tenant = (await app.read("t")).json()

    assert (of_user["source"], of_tenant["source"]) == ("connection", "installation")
    assert of_user["connection_id"] == connected.said["connection_id"]
    assert of_tenant["installation_id"] == installed.said["installation_id"]
    me = await stack.simulator.get(
        f"/ex/jira/{of_user['site']['id']}/rest/api/3/myself",
        headers={"authorization": f"Bearer {of_user['credential']}"},
    )
    assert me.status_code == 200
    assert me.json()["accountId"] == (await app.grants("member"))[0]["account_id"]


async def test_a_credential_is_refreshed_before_it_expires_and_once_per_generation(stack):
    app = await stack.app(token_lifetime=6)
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    first = (await app.read("t")).json()["generation"]

    async def later():
        read = await app.read("t")
        assert read.status_code == 200
        assert read.json()["warnings"] == []
        return read.json()["generation"] >= first + 2

    await stack.until(later)
    generation = (await app.read("t")).json()["generation"]
    (grant,) = await app.grants()
    assert grant["counters"]["refreshes"] in (generation - first, generation - first + 1)


async def test_of_several_sites_the_installer_chooses_one(stack):
    app = await stack.app()
    opened, back = await app.consent("/oauth/installs", "admin", BOTH, tenant_id="t")
    assert back.said["status"] == "awaiting_selection"
    path = f"/oauth/sessions/{opened['session_id']}"
    sites = {site["name"]: site["id"] for site in (await stack.api.get(path)).json()["sites"]}
    assert set(sites) == set(BOTH)
    assert (await app.read("t")).status_code == 404

    chosen = await stack.api.post(f"{path}/selection", json={"site_id": sites["Acme Support"]})

    assert chosen.json()["status"] == "completed"
    assert (await app.read("t")).json()["site"]["name"] == "Acme Support"


async def test_an_account_without_a_site_cannot_install(stack):
    app = await stack.app()
    _, back = await app.consent("/oauth/installs", "nosite", tenant_id="t")
    assert (back.said["status"], back.said["reason"]) == ("failed", "no_site")
    assert (await app.read("t")).status_code == 404


async def test_a_user_who_does_not_reach_the_site_of_the_installation_is_refused(stack):
    app = await stack.app()
    await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    opened, back = await app.consent("/oauth/sessions", "outsider", ("Other Company",), tenant_id="t", user_id="u")
    assert (back.said["status"], back.said["reason"]) == ("failed", "site_mismatch")
    outcome = (await stack.api.get(f"/oauth/sessions/{opened['session_id']}")).json()
    assert outcome["expected"] == "Acme Engineering"


async def test_a_user_cannot_connect_before_the_tenant_has_installed(stack):
    app = await stack.app()
    body = {"provider": "jira", "provider_config_id": app.config_id, "tenant_id": "t", "user_id": "u"}
    answer = await stack.api.post("/oauth/sessions", json={**body, "redirect_url": stack.callback})
    assert (answer.status_code, answer.json()["code"]) == (409, "installation_required")


async def test_one_account_that_installs_and_connects_is_one_grant(stack):
    app = await stack.app()
    _, installed = await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    _, connected = await app.consent("/oauth/sessions", "admin", ONE, tenant_id="t", user_id="u")
    (grant,) = await app.grants()
    connection = (await stack.api.get(f"/api/connections/{connected.said['connection_id']}")).json()
    installation = (await stack.api.get(f"/api/installations/{installed.said['installation_id']}")).json()
    assert grant["account_id"] == connection["external_user_id"] == installation["installed_by"]
    await stack.api.delete(f"/api/connections/{connected.said['connection_id']}")

    async def buried():
        row = (await stack.api.get(f"/api/connections/{connected.said['connection_id']}")).json()
        return row["upstream"] != "pending" and row["upstream"]

    assert await stack.until(buried) == "kept_shared"
    assert (await app.read("t")).status_code == 200


async def test_deleting_an_installation_ends_its_connections_at_once(stack):
    app = await stack.app()
    _, installed = await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
    await app.consent("/oauth/sessions", "member", ONE, tenant_id="t", user_id="u")
    gone = await stack.api.delete(f"/api/installations/{installed.said['installation_id']}")
    assert (gone.status_code, gone.headers["authpipe-upstream"]) == (204, "pending")
    for user in (None, "u"):
        assert (await app.read("t", user)).status_code == 404


async def test_a_provider_that_is_only_a_file_walks_the_same_life(stack):
    app = await stack.app("plain", token_lifetime=6)
    _, installed = await app.consent("/oauth/installs", "admin", tenant_id="t")
    _, connected = await app.consent("/oauth/sessions", "member", tenant_id="t", user_id="u")
    assert installed.said["status"] == connected.said["status"] == "completed"
    first = (await app.read("t", "u")).json()
    assert "site" not in first

    async def refreshed():
        return (await app.read("t", "u")).json()["generation"] > first["generation"]

    await stack.until(refreshed)
    token = (await app.read("t", "u")).json()["credential"]
    whoami = await stack.simulator.get("/plain/whoami", headers={"authorization": f"Bearer {token}"})
    assert whoami.status_code == 200
    await stack.api.delete(f"/api/connections/{connected.said['connection_id']}")

    async def revoked_upstream():
        row = (await stack.api.get(f"/api/connections/{connected.said['connection_id']}")).json()
        return row["upstream"] == "confirmed"

    await stack.until(revoked_upstream)
    assert [grant["alive"] for grant in await app.grants("member")] == [False]
