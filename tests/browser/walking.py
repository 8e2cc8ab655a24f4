"""What a person does in these walks, and how a test waits for what comes of it: by facts, with a deadline."""

import re
from collections.abc import Sequence
from typing import Any

from playwright.async_api import Page, expect

ONE = ("Acme Engineering",)
BOTH = ("Acme Engineering", "Acme Support")


async def press(page: Page, element: str = "install") -> Page:
    """Press a button that opens a popup; answers the popup once our page is in it."""
    async with page.expect_popup() as opening:
        await page.locator(f"#{element}").get_by_role("button").click()
    popup = await opening.value
    await popup.wait_for_url("**/oauth/visit/*")
    return popup


async def go_on(page: Page) -> None:
    """From our page to the provider's."""
    await page.get_by_role("link", name="Continue to").click()
    await page.wait_for_url("**/authorize?*")


async def sign_in(page: Page, person: str) -> None:
    await page.locator(f"input[name=person][value={person}]").check()
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_text(f"signed in as {person}")).to_be_visible()


async def allow(page: Page, sites: Sequence[str] = ONE) -> None:
    for site in sites:
        await page.get_by_label(site).check()
    await page.get_by_role("button", name="Allow").click()


async def consent(page: Page, person: str = "admin", sites: Sequence[str] = ONE) -> None:
    """The whole of it at the provider, from our page on."""
    await go_on(page)
    await sign_in(page, person)
    await allow(page, sites)


async def choose(page: Page, site: str) -> None:
    """On our page that asks for one of several sites."""
    await page.get_by_label(site).check()
    await page.get_by_role("button", name="Use this site").click()


async def reads(page: Page, heading: str | re.Pattern[str]) -> None:
    """Whether the page has this headline."""
    await expect(page.get_by_role("heading", level=1)).to_have_text(heading)


async def state_is(page: Page, wanted: str, element: str = "install") -> None:
    await expect(page.locator(f"#{element}")).to_have_attribute("state", wanted)


async def told(page: Page) -> list[tuple[str, dict[str, Any]]]:
    """The events of the elements so far."""
    return [(kind, detail) for kind, detail in await page.evaluate("seen")]
