"""Every page, looked over in light and dark and at the width of a phone."""

import pytest
from playwright.async_api import expect

from tests.browser.looking import looked_over
from tests.browser.walking import BOTH, allow, choose, consent, go_on, press, reads, sign_in, state_is

pytestmark = pytest.mark.slow


async def test_the_way_of_an_installation(product, visitor):
    page = await visitor.open((await product.open())["authorization_url"])
    await reads(page, "Install Planwise in Jira")
    await looked_over(page)
    await consent(page, "admin", BOTH)
    await reads(page, "Which site of Jira?")
    await looked_over(page)
    visitor.watch.expect_refusal(422)
    await page.evaluate("document.forms[0].noValidate = true")
    await page.get_by_role("button", name="Use this site").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await looked_over(page)
    await choose(page, "Acme Support")
    await reads(page, "Installed")
    await looked_over(page)


async def test_the_way_of_a_connection(product, visitor):
    page = await visitor.open((await product.open())["authorization_url"])
    await consent(page)
    await reads(page, "Installed")
    page = await visitor.open((await product.open("sessions"))["authorization_url"])
    await reads(page, "Connect Jira to Planwise")
    await looked_over(page)
    await consent(page, "outsider", ("Other Company",))
    await reads(page, "Another site was expected")
    await looked_over(page)


async def test_a_denial(product, visitor):
    page = await visitor.open((await product.open())["authorization_url"])
    await go_on(page)
    await page.get_by_role("button", name="Deny").click()
    await reads(page, "You did not agree")
    await looked_over(page)


async def test_a_wait_for_confirmation(stack, visitor):
    product = await stack.product(verify_user=True)
    page = await visitor.open((await product.open())["authorization_url"])
    await sign_in(page, "admin")
    await allow(page)
    await reads(page, "Waiting for confirmation")
    await looked_over(page)


async def test_a_wait_for_the_provider(product, stack, visitor):
    async def stand_still(route):
        answer = await route.fetch()
        headers = {name: value for name, value in answer.headers.items() if name != "refresh"}
        await route.fulfill(response=answer, headers=headers)

    fault = {"endpoint": "token", "kind": "delay", "seconds": 12, "client_id": product.client_id}
    assert (await stack.simulator.post("/_admin/faults", json=fault)).is_success
    await visitor.context.route("**/oauth/done/*", stand_still)
    page = await visitor.open((await product.open())["authorization_url"])
    await consent(page)
    await reads(page, "One moment")
    await looked_over(page)
    await visitor.context.unroute_all()
    await page.get_by_role("link", name="Look again").click()
    await reads(page, "Installed")


async def test_refusals(product, stack, visitor):
    opened = await product.open()
    stack.expire(opened["session_id"])
    for status in (404, 410, 404):
        visitor.watch.expect_refusal(status)
    for url, heading in (
        (f"{stack.pages}/oauth/visit/sess_unknown", "This link is not known"),
        (opened["authorization_url"], "This link has expired"),
        (f"{stack.pages}/oauth/callback?state=none&code=none", "This answer fits no request"),
        (f"{stack.pages}/oauth/done/{opened['session_id']}", "Nothing to see here"),
    ):
        page = await visitor.open(url)
        await reads(page, heading)
        await looked_over(page)


async def test_the_elements_at_rest(product, visitor):
    connected = product.install(id="connected", status="active")
    ended = product.connect(id="ended", status="needs_reauth")
    page = await visitor.open(await product.page(product.install(), connected, ended))
    await state_is(page, "idle")
    await state_is(page, "connected", "connected")
    await state_is(page, "needs_reauth", "ended")
    await looked_over(page)


async def test_the_elements_under_way(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await state_is(page, "waiting")
    await looked_over(page)
    await consent(popup, "admin", BOTH)
    await state_is(page, "choosing")
    await looked_over(page)
    await choose(popup, "Acme Support")
    await state_is(page, "done")
    await looked_over(page)


async def test_the_elements_after_a_denial_and_a_failure(product, visitor):
    page = await visitor.open(await product.page(product.install(), product.connect()))
    popup = await press(page)
    await go_on(popup)
    await popup.get_by_role("button", name="Deny").click()
    await state_is(page, "denied")
    await popup.close()
    visitor.watch.expect_refusal(409)
    await page.locator("#connect").get_by_role("button").click()
    await state_is(page, "failed", "connect")  # there is no installation yet
    await looked_over(page)
