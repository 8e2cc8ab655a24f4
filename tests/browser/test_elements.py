"""The element by itself: what a page gives it, what it believes, and what it says to whoever builds the page."""

import json

import pytest
from playwright.async_api import expect

from tests.browser.walking import consent, reads, state_is, told

pytestmark = pytest.mark.slow
NO_POPUPS = "window.open = () => null"
NOBODY = "sess_aaaaaaaaaaaaaaaaaaaaaaaaaa"


async def click(page, element="install"):
    await page.locator(f"#{element}").get_by_role("button").click()


async def test_a_return_that_waits_for_its_backend_rests_where_a_press_works(stack, visitor):
    product = await stack.product(verify_user=True)
    await visitor.context.add_init_script(NO_POPUPS)
    page = await visitor.open(await product.page(product.install()))
    await click(page)
    await page.wait_for_url("**/authorize?*")
    await page.locator("input[name=person][value=admin]").check()
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_label("Acme Engineering").check()
    await page.get_by_role("button", name="Allow").click()
    await page.wait_for_url(f"{product.site.origin}/**")
    await state_is(page, "idle")
    ((event, detail),) = await told(page)
    assert (event, detail["status"], detail["unconfirmed"]) == ("install", "pending_verification", True)
    await expect(page.locator("#install").get_by_role("status")).to_have_text("Waiting for confirmation.")
    await click(page)
    await page.wait_for_url("**/authorize?*")
    assert len(visitor.watch.sent("POST", "/oauth/installs")) == 2


async def test_a_return_in_the_middle_of_the_exchange_rests_too(product, stack, visitor):
    fault = {"endpoint": "token", "kind": "delay", "seconds": 12, "client_id": product.client_id}
    assert (await stack.simulator.post("/_admin/faults", json=fault)).is_success
    await visitor.context.add_init_script(NO_POPUPS)
    page = await visitor.open(await product.page(product.install()))
    await click(page)
    await page.wait_for_url("**/oauth/visit/*")
    await consent(page)
    await page.wait_for_url(f"{product.site.origin}/**status=exchanging**")
    await state_is(page, "idle")
    await expect(page.locator("#install").get_by_role("status")).to_contain_text("start again")
    assert await told(page) == []


async def test_with_a_key_at_hand_the_api_is_asked_and_the_address_believed_in_nothing(product, stack, visitor):
    await visitor.context.add_init_script(NO_POPUPS)
    address = await product.page(product.button("install", publishable_key=stack.publishable_key))
    page = await visitor.open(address)
    await click(page)
    await page.wait_for_url("**/oauth/visit/*")
    session_id = page.url.rpartition("/")[2]
    await page.goto(f"{address}?session_id={session_id}&status=completed&installation_id=inst_forged")
    await page.wait_for_function(
        "(id) => performance.getEntriesByType('resource').some((one) => one.name.endsWith('/oauth/sessions/' + id))",
        arg=session_id,
    )
    await state_is(page, "waiting")
    assert await told(page) == []


async def test_without_a_key_what_the_address_says_is_marked_as_a_hint(product, visitor):
    await visitor.context.add_init_script(NO_POPUPS)
    page = await visitor.open(await product.page(product.install()))
    await click(page)
    await page.wait_for_url("**/oauth/visit/*")
    await consent(page)
    await state_is(page, "done")
    assert [detail["unconfirmed"] for _, detail in await told(page)] == [True]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("?tab=people&status=open&session_id=theirs", "?tab=people&status=open&session_id=theirs"),
        (f"?tab=people&session_id={NOBODY}&status=failed&reason=x", "?tab=people"),
    ],
    ids=["names alike", "an earlier return"],
)
async def test_the_pages_own_query_goes_along_and_an_earlier_return_does_not(stack, visitor, query, kept):
    product = await stack.product(allowed_redirect_urls=None)
    await visitor.context.add_init_script(NO_POPUPS)
    page = await visitor.open(await product.page(product.install()) + query)
    visitor.watch.expect_refusal(422)
    visitor.watch.expect("authpipe: .*redirect_url_not_allowed")
    await click(page)
    await state_is(page, "failed")
    (sent,) = visitor.watch.sent("POST", "/oauth/installs")
    assert json.loads(sent.post_data)["redirect_url"].endswith(f"/{product.name}{kept}")


async def test_a_fault_of_the_setup_is_said_once_to_whoever_builds_the_page(product, visitor):
    page = await visitor.open(await product.page(product.button("install"), product.button("connect")))
    visitor.watch.expect("authpipe: .*key_missing")
    for element in ("install", "connect", "install"):
        await click(page, element)
        await state_is(page, "failed", element)
    assert [detail["reason"] for _, detail in await told(page)] == ["key_missing"] * 3


@pytest.mark.parametrize("base", ["javascript:alert(1)", "data:text/html,x", "http://", "blob:https://x.example/1"])
async def test_a_base_url_that_is_not_of_the_web_is_refused(product, visitor, base):
    page = await visitor.open(await product.page(product.install(base_url=base)))
    visitor.watch.expect("authpipe: .*base_url_invalid")
    await click(page)
    await state_is(page, "failed")
    assert [detail["reason"] for _, detail in await told(page)] == ["base_url_invalid"]


async def test_only_texts_are_taken_as_texts(product, visitor):
    texts = json.dumps({"button.install": {"toString": 1}, "failed": "Alas."})
    page = await visitor.open(await product.page(product.install(texts=texts), product.connect(texts="[]")))
    visitor.watch.expect('"texts" takes an object of strings', times=2)
    for element, said in (("install", "Install Jira"), ("connect", "Connect Jira")):
        await expect(page.locator(f"#{element}").get_by_role("button")).to_have_text(said)
    assert await page.locator("#install").evaluate("(element) => element.texts") == {"failed": "Alas."}
    await page.locator("#install").evaluate("(element) => { element.texts = 'x' }")
    visitor.watch.expect('"texts" takes an object of strings')
    assert await page.locator("#install").evaluate("(element) => element.texts") == {}


async def test_inside_another_element_the_language_is_the_pages(product, visitor):
    page = await visitor.open(await product.page())
    await page.evaluate(
        """(html) => {
          document.documentElement.lang = 'de-AT';
          const root = document.body.appendChild(document.createElement('div')).attachShadow({ mode: 'open' });
          root.innerHTML = html;
        }""",
        product.install(),
    )
    await expect(page.locator("#install").get_by_role("button")).to_have_text("Jira installieren")


@pytest.mark.parametrize("size", [(540, 720), (360, 640)], ids=["in a popup", "on a phone"])
async def test_the_way_on_is_seen_without_scrolling(product, visitor, size):
    opened = await product.open("installs", user_id="ann.archer@globex.example")
    page = await visitor.open(opened["authorization_url"])
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await reads(page, "Install Planwise in Jira")
    box = await page.get_by_role("link", name="Continue to").bounding_box()
    assert box["y"] + box["height"] <= size[1]
    await page.get_by_text("will be able to do").click()
    await expect(page.get_by_text("while you are away")).to_be_visible()
