"""What befalls a connection reaches the builder's URL, signed and in order, and can be read up afterwards."""

import json

from standardwebhooks import Webhook

from tests.end_to_end.receiver import receiving

ONE = ("Acme Engineering",)


async def test_a_death_reaches_the_builder_signed_in_order_and_explained(stack):
    app = await stack.app()
    async with receiving() as receiver:
        secret = (await stack.api.post("/api/webhook-config", json={"webhook_url": receiver.url})).json()["secret"]
        await app.consent("/oauth/installs", "admin", ONE, tenant_id="t")
        _, back = await app.consent("/oauth/sessions", "member", ONE, tenant_id="t", user_id="u")
        connection = back.said["connection_id"]
        (grant,) = await app.grants("member")
        await stack.simulator.post(f"/_admin/grants/{grant['id']}/revoke")
        reported = await stack.api.post(f"/api/connections/{connection}/report", json={"status": 401})
        assert reported.is_success, reported.text

        async def delivered():
            verified = [Webhook(secret).verify(said.body, said.headers) for said in receiver.messages]
            theirs = [event for event in verified if event["data"].get("connection_id") == connection]
            return theirs if theirs and theirs[-1]["type"] == "connection.needs_reauth" else None

        events = await stack.until(delivered)
        assert (await stack.api.delete("/api/webhook-config")).status_code == 204

    names = [event["type"] for event in events]
    assert names[:2] == ["connection.created", "connection.activated"]
    assert (events[-1]["data"]["old"], events[-1]["data"]["new"]) == ("active", "needs_reauth")
    ids = [said.headers["webhook-id"] for said in receiver.messages]
    assert len(ids) == len(set(ids))
    listed = (
        await stack.api.post("/api/events/search", json={"filter": {"connection_id": {"eq": connection}}})
    ).json()["data"]
    assert sorted(event["event_type"] for event in listed) == sorted(names)
    story = (await stack.api.get(f"/api/connections/{connection}/explain")).json()
    assert "needs_reauth" in json.dumps(story)
