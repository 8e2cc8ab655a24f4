"""The button on a builder's page, of another origin than ours, with a popup."""

import pytest
from playwright.async_api import expect

from tests.browser.walking import BOTH, ONE, allow, choose, consent, go_on, press, reads, sign_in, state_is, told


async def test_a_tenant_installs_in_a_popup_which_closes_by_itself(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await state_is(page, "waiting")
    await consent(popup)
    await reads(popup, "Installed")
    await state_is(page, "done")
    ((event, detail),) = await told(page)
    assert (event, detail["status"]) == ("install", "completed")
    assert set(detail) == {"session_id", "provider", "status", "installation_id"}
    assert (await product.credential()).status_code == 200
    if not popup.is_closed():
        await popup.wait_for_event("close")


@pytest.mark.slow
async def test_a_user_connects_inside_the_installation(product, visitor):
    page = await visitor.open(await product.page(product.install(), product.connect()))
    await consent(await press(page))
    await state_is(page, "done")
    await consent(await press(page, "connect"), "member")
    await state_is(page, "done", "connect")
    assert [event for event, _ in await told(page)] == ["install", "connect"]
    assert (await product.credential("ann")).json()["source"] == "connection"


async def test_of_several_sites_the_person_chooses_one_in_the_popup(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await consent(popup, "admin", BOTH)
    await reads(popup, "Which site of Jira?")
    await state_is(page, "choosing")
    await choose(popup, "Acme Support")
    await reads(popup, "Installed")
    await state_is(page, "done")
    assert (await product.credential()).json()["site"]["name"] == "Acme Support"


@pytest.mark.slow
async def test_who_denies_has_changed_nothing_and_may_try_again(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await go_on(popup)
    await popup.get_by_role("button", name="Deny").click()
    await reads(popup, "You did not agree")
    await state_is(page, "denied")
    ((event, detail),) = await told(page)
    assert (event, detail["reason"]) == ("error", "access_denied")
    await popup.close()
    await consent(await press(page))
    await state_is(page, "done")


@pytest.mark.slow
async def test_a_double_click_opens_one_window_and_one_session(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    async with page.expect_popup() as opening:
        # Both before anything has come of the first: a real double click may lose its second half to the new window.
        await page.locator("#install").get_by_role("button").evaluate("(button) => { button.click(); button.click(); }")
    popup = await opening.value
    await popup.wait_for_url("**/oauth/visit/*")
    await consent(popup)
    await state_is(page, "done")
    assert len(visitor.watch.sent("POST", "/oauth/installs")) == 1
    assert len(visitor.context.pages) <= 2


@pytest.mark.slow
async def test_a_closed_window_is_noticed_and_the_button_opens_another(product, visitor):
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await popup.close()
    await state_is(page, "idle")
    ((event, detail),) = await told(page)
    assert (event, detail["reason"]) == ("error", "popup_closed")
    await consent(await press(page))
    await state_is(page, "done")


@pytest.mark.slow
async def test_a_provider_that_cuts_the_opener_does_not_lose_the_outcome(product, stack, visitor):
    async def cut(route):
        answer = await route.fetch()
        await route.fulfill(response=answer, headers=answer.headers | {"cross-origin-opener-policy": "same-origin"})

    await visitor.context.route(f"{stack.where.simulator}/authorize*", cut)
    page = await visitor.open(await product.page(product.install()))
    popup = await press(page)
    await go_on(popup)
    await sign_in(popup, "admin")
    # The page that opened it sees a closed window from here on, and says so after a while.
    await state_is(page, "idle")
    await allow(popup, ONE)
    await reads(popup, "Installed")
    assert await popup.evaluate("window.opener") is None
    await state_is(page, "done")
    assert [event for event, _ in await told(page)] == ["error", "install"]


@pytest.mark.slow
async def test_another_account_is_refused_and_the_page_says_which_was_expected(product, stack, visitor):
    page = await visitor.open(await product.page(product.install(), product.connect()))
    await consent(await press(page))
    await consent(await press(page, "connect"), "member")
    await state_is(page, "done", "connect")
    before = (await product.credential("ann")).json()
    await page.reload()
    popup = await press(page, "connect")
    await consent(popup, "admin")
    await reads(popup, "Another account was expected")
    (grant,) = await stack.grants(product.client_id, person="member")
    await expect(popup.get_by_text(grant["account_id"])).to_be_visible()
    await state_is(page, "failed", "connect")
    assert (await told(page))[-1][1]["reason"] == "account_mismatch"
    assert (await product.credential("ann")).json()["generation"] == before["generation"]
    await popup.close()


@pytest.mark.slow
async def test_a_wrong_site_is_refused_and_the_page_says_which_was_expected(product, visitor):
    page = await visitor.open(await product.page(product.install(), product.connect()))
    await consent(await press(page))
    await state_is(page, "done")
    popup = await press(page, "connect")
    await consent(popup, "outsider", ("Other Company",))
    await state_is(page, "failed", "connect")
    await expect(popup.get_by_text("Acme Engineering")).to_be_visible()
    assert (await told(page))[-1][1]["reason"] == "site_mismatch"
    await expect(page.locator("#connect").get_by_role("status")).to_contain_text("Expected: Acme Engineering.")
    await popup.close()


@pytest.mark.slow
async def test_a_publishable_key_ends_in_a_confirmation_by_the_backend(product, stack, visitor, until):
    page = await visitor.open(await product.page(product.button("install", publishable_key=stack.publishable_key)))
    popup = await press(page)
    await reads(popup, "Install Planwise in Jira")  # nobody else says in whose name the page opened it
    await consent(popup)
    await reads(popup, "Waiting for confirmation")

    async def asked():
        return await told(page)

    ((event, detail),) = await until(asked)
    assert (event, detail["status"]) == ("install", "pending_verification")
    assert (await product.credential()).status_code == 404
    whom = {"tenant_id": "acme"}
    completed = await product.api.post(f"/oauth/sessions/{detail['session_id']}/complete", json=whom)
    assert completed.is_success, completed.text
    await state_is(page, "done")
    assert [detail["status"] for _, detail in await told(page)] == ["pending_verification", "completed"]
