"""Makes the pictures of the README: `make screenshots`. Each is of the running product, none is drawn.

The files go to docs/images; each must stay small enough to be looked at on a slow line.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

import httpx
from playwright.async_api import Browser, FloatRect, Locator, Page, expect

from runtime.demo_stack import DemoStack, own_stack
from tests.browser.chromium import SECONDS, chromium, chromium_path
from tests.browser.walking import BOTH, ONE, allow, choose, go_on, reads, sign_in

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LARGEST = 150_000
PAGE = {"width": 780, "height": 1180}
WINDOW = {"width": 600, "height": 540}
PHONE = {"width": 360, "height": 560}


async def main() -> int:
    path = chromium_path()
    if path is None:
        print("no Chromium is installed here", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="authpipe-screenshots-") as folder:
        async with own_stack(Path(folder)) as stack, chromium(path) as browser:
            await take_all(browser, stack)
    return max((check(path) for path in sorted(IMAGES.glob("*.png"))), default=1)


async def take_all(browser: Browser, stack: DemoStack) -> None:
    await name_the_builder(stack)
    context = await browser.new_context(viewport=PAGE, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(SECONDS * 1000)
    demo = await context.new_page()
    await demo.goto(stack.api.replace("127.0.0.1", "localhost") + "/demo")
    await install(demo)
    await connect(demo)
    await take_demo(demo)
    await take_workflow(demo)
    await context.close()


async def name_the_builder(stack: DemoStack) -> None:
    headers = {"authorization": f"Bearer {stack.secret_key}"}
    async with httpx.AsyncClient(base_url=stack.api, headers=headers) as api:
        found = (await api.post("/api/provider-configs/search", json={"limit": 1})).json()["data"]
        answer = await api.patch(f"/api/provider-configs/{found[0]['id']}", json={"display_name": "Planwise"})
        answer.raise_for_status()


async def install(demo: Page) -> None:
    """The three pages of an installation with two sites to choose from."""
    popup = await press(demo, "installation")
    await take_both(popup, "visit")
    await go_on(popup)
    await sign_in(popup, "admin")
    await allow(popup, BOTH)
    await reads(popup, "Which site of Jira?")
    await popup.get_by_label("Acme Engineering").check()
    await take_both(popup, "choose-site")
    await choose(popup, "Acme Engineering")
    await reads(popup, "Installed")
    await popup.set_viewport_size(PHONE)
    await popup.screenshot(path=IMAGES / "done-phone.png")
    await popup.close()
    await active(demo, "installation")


async def connect(demo: Page) -> None:
    popup = await press(demo, "connection")
    await go_on(popup)
    await sign_in(popup, "member")
    await popup.get_by_label("Life of its access tokens").fill("60")
    await allow(popup, ONE)
    await active(demo, "connection")
    await card(demo, "connection").get_by_role("button", name="Call Jira").click()
    await expect(card(demo, "connection").locator("output")).to_contain_text("answered 200")


async def take_demo(demo: Page) -> None:
    await demo.mouse.move(0, 0)
    await demo.evaluate("document.activeElement?.blur()")
    for scheme in ("light", "dark"):
        await demo.emulate_media(color_scheme=scheme)
        await demo.screenshot(path=IMAGES / f"demo-{scheme}.png", full_page=True, clip=await upper_part(demo))


async def upper_part(demo: Page) -> FloatRect:
    """Without the last card, which says little in a picture."""
    box = await card(demo, "several").bounding_box()
    assert box is not None
    return {"x": 0, "y": 0, "width": PAGE["width"], "height": box["y"] - 1}


async def take_workflow(demo: Page) -> None:
    """The connection in Temporal's UI, once it shows the words that the workflow wrote about itself."""
    link = card(demo, "connection").get_by_role("link", name="This very workflow")
    page = await demo.context.new_page()
    await page.set_viewport_size({"width": 1280, "height": 820})
    await page.goto(str(await link.get_attribute("href")))
    await page.get_by_text("User Metadata").click()
    await expect(page.frame_locator("iframe").last.get_by_text("Failures in a row")).to_be_visible()
    await page.screenshot(path=IMAGES / "temporal-details.png")
    await page.get_by_text("Timeline", exact=True).first.click()
    planned = page.get_by_text(re.compile(r"refresh \d+ s before")).last
    await planned.evaluate("(text) => text.scrollIntoView({ block: 'center' })")
    await page.screenshot(path=IMAGES / "temporal-timeline.png")


async def take_both(page: Page, name: str) -> None:
    await page.set_viewport_size(WINDOW)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await page.screenshot(path=IMAGES / f"{name}-{scheme}.png", full_page=True)


async def press(demo: Page, slot: str) -> Page:
    async with demo.expect_popup() as opening:
        await card(demo, slot).locator("[provider]").get_by_role("button").click()
    popup = await opening.value
    await popup.wait_for_url("**/oauth/visit/*")
    return popup


async def active(demo: Page, slot: str) -> None:
    await expect(card(demo, slot).locator("[data-field=status]")).to_have_text("active")


def card(demo: Page, slot: str) -> Locator:
    return demo.locator(f"[data-slot={slot}]")


def check(path: Path) -> int:
    """Say how large it is; 1 if it is too large."""
    size = path.stat().st_size
    print(f"{path.relative_to(IMAGES.parents[1])}: {size // 1024} KB{' (too large)' if size > LARGEST else ''}")
    return int(size > LARGEST)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
