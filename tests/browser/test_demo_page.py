"""The demo page, as one who tries this first meets it."""

import re
import secrets

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.looking import looked_over
from tests.browser.walking import BOTH, ONE, allow, choose, go_on, reads, sign_in

# So that what the provider withdraws is noticed while one looks on.
TOKEN_SECONDS = 20


def card(page: Page, slot: str) -> Locator:
    return page.locator(f"[data-slot={slot}]")


async def press(page: Page, slot: str) -> Page:
    async with page.expect_popup() as opening:
        await card(page, slot).locator("[provider]").get_by_role("button").click()
    popup = await opening.value
    await popup.wait_for_url("**/oauth/visit/*")
    return popup


async def authorise(page: Page, slot: str, person: str, sites: tuple[str, ...] = ONE) -> Page:
    popup = await press(page, slot)
    await go_on(popup)
    await sign_in(popup, person)
    await popup.get_by_label("Life of its access tokens").fill(str(TOKEN_SECONDS))
    await allow(popup, sites)
    return popup


async def status_is(page: Page, slot: str, pattern: str) -> None:
    field = card(page, slot).locator("[data-field=status]")
    await expect(field).to_have_text(re.compile(pattern))


async def do(page: Page, slot: str, action: str, said: str) -> None:
    await card(page, slot).get_by_role("button", name=action).click()
    await expect(card(page, slot).locator("output")).to_contain_text(said)


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_the_demo_shows_a_whole_life(stack, visitor, until):
    page = await visitor.open(f"{stack.pages}/demo")
    await page.get_by_role("textbox", name="Tenant").fill(f"tenant-{secrets.token_hex(4)}")
    await expect(card(page, "installation").locator("[provider]")).to_have_attribute("state", "idle")
    await looked_over(page)

    await authorise(page, "installation", "admin")
    await status_is(page, "installation", "^active")
    await authorise(page, "connection", "member")
    await status_is(page, "connection", "^active")
    await expect(card(page, "connection").locator("[data-field=credential]")).to_have_text(re.compile(r"^.{4}•+ \(gen"))
    await expect(card(page, "connection").locator("[data-field=expires]")).to_have_text(re.compile(r"^in \d\d:\d\d"))
    link = card(page, "connection").get_by_role("link", name="This very workflow")
    await expect(link).to_have_attribute(
        "href", re.compile(f"^{stack.where.temporal_ui}/namespaces/default/workflows/")
    )

    await do(page, "connection", "Call Jira", "Jira answered 200")
    await looked_over(page)

    async def refreshed():
        """Not while the credential is younger than a tenth of its life."""
        await do(page, "connection", "Refresh now", "efreshed")
        return await card(page, "connection").locator("output").inner_text() == "Refreshed."

    await until(refreshed)
    await do(page, "connection", "Revoke", "Revoked at the provider")
    await status_is(page, "connection", "^needs reauth")
    await looked_over(page)
    await authorise(page, "connection", "member")
    await status_is(page, "connection", "^active")

    popup = await authorise(page, "several", "admin", BOTH)
    await reads(popup, "Which site of Jira?")
    await choose(popup, "Acme Support")
    await status_is(page, "several", "^active")

    await do(page, "installation", "Delete", "Deleted here at once")
    await status_is(page, "installation", "deleted|revoked")
    await status_is(page, "installation", "at the provider: (unsupported|kept shared)$")
    await status_is(page, "connection", "deleted|revoked")
    await do(page, "several", "Delete", "Deleted here at once")
