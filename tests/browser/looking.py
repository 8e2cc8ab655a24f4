"""How a page is looked over: by axe-core in light and in dark, and at the width of a small phone."""

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

PHONE = {"width": 360, "height": 740}
GRAVE = ("serious", "critical")
OVERHANG = "document.documentElement.scrollWidth - window.innerWidth"

_axe = Axe()


async def looked_over(page: Page) -> None:
    """Nothing grave for who cannot see, nothing too pale, nothing to scroll sideways."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = await _axe.run(page, options={"resultTypes": ["violations"]})
        grave = [
            (one["id"], one["help"], [node["html"] for node in one["nodes"]])
            for one in found.response["violations"]
            if one["impact"] in GRAVE
        ]
        assert not grave, f"{page.url} in {scheme}: {grave}"
    size = page.viewport_size
    await page.set_viewport_size(PHONE)
    assert await page.evaluate(OVERHANG) <= 0, f"{page.url} is wider than a phone"
    if size:
        await page.set_viewport_size(size)
