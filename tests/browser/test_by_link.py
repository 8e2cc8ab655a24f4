"""The hosted pages by themselves: links opened, opened again, opened too late, with and without scripts."""

import pytest

from tests.browser.walking import BOTH, allow, choose, consent, go_on, reads, sign_in, state_is, told


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_an_installer_chooses_a_site_by_the_pages_alone(product, new_visitor, scripts):
    visitor = await new_visitor(java_script_enabled=scripts)
    opened = await product.open()
    page = await visitor.open(opened["authorization_url"])
    await consent(page, "admin", BOTH)
    await reads(page, "Which site of Jira?")
    await choose(page, "Acme Support")
    await reads(page, "Installed")
    assert "?" not in page.url
    assert (await product.outcome(opened["session_id"]))["status"] == "completed"
    assert (await product.credential()).json()["site"]["name"] == "Acme Support"


@pytest.mark.slow
async def test_a_link_that_was_used_says_so_and_so_does_the_way_back(product, visitor):
    opened = await product.open()
    page = await visitor.open(opened["authorization_url"])
    await consent(page)
    await reads(page, "Installed")
    visitor.watch.expect_refusal(409)

    await page.evaluate("history.go(-3)")
    await reads(page, "This link was used already")
    await page.evaluate("history.go(1)")
    await sign_in(page, "admin")
    await allow(page)
    await reads(page, "This link was used already")
    assert (await product.outcome(opened["session_id"]))["status"] == "completed"


@pytest.mark.slow
async def test_a_link_that_is_too_old_says_so_before_and_after_the_provider(product, stack, visitor):
    opened = await product.open()
    page = await visitor.open(opened["authorization_url"])
    await go_on(page)
    stack.expire(opened["session_id"])
    visitor.watch.expect_refusal(410)

    await sign_in(page, "admin")
    await allow(page)
    await reads(page, "This link has expired")
    await reads(await visitor.open(opened["authorization_url"]), "This link has expired")
    assert (await product.credential()).status_code == 404


@pytest.mark.slow
async def test_of_two_tabs_the_first_to_finish_counts_and_the_other_changes_nothing(product, visitor):
    opened = await product.open()
    first = await visitor.open(opened["authorization_url"])
    second = await visitor.open(opened["authorization_url"])
    for tab in (first, second):
        await go_on(tab)
        await sign_in(tab, "admin")

    await allow(first)
    await reads(first, "Installed")
    generation = (await product.credential()).json()["generation"]
    await allow(second)
    await reads(second, "This link was used already")
    assert (await product.credential()).json()["generation"] == generation


@pytest.mark.slow
async def test_another_browser_that_is_handed_the_link_at_the_end_sees_nothing(product, visitor, new_visitor):
    page = await visitor.open((await product.open())["authorization_url"])
    await consent(page)
    await reads(page, "Installed")
    other = await new_visitor()
    other.watch.expect_refusal(404)
    await reads(await other.open(page.url), "Nothing to see here")


async def test_where_popups_are_blocked_the_page_itself_goes_and_comes_back(product, visitor):
    await visitor.context.add_init_script("window.open = () => null")
    page = await visitor.open(await product.page(product.install()))
    await page.locator("#install").get_by_role("button").click()
    await page.wait_for_url("**/oauth/visit/*")
    await consent(page)
    await state_is(page, "done")
    ((event, detail),) = await told(page)
    assert (event, detail["status"]) == ("install", "completed")
    assert page.url.startswith(product.site.origin)
    assert len(visitor.context.pages) == 1


@pytest.mark.slow
async def test_a_denial_comes_back_to_the_page_where_popups_are_blocked(product, visitor):
    await visitor.context.add_init_script("window.open = () => null")
    page = await visitor.open(await product.page(product.install()))
    await page.locator("#install").get_by_role("button").click()
    await go_on(page)
    await page.get_by_role("button", name="Deny").click()
    await state_is(page, "denied")


@pytest.mark.slow
async def test_a_choice_of_site_leads_back_to_the_page_where_popups_are_blocked(product, visitor):
    await visitor.context.add_init_script("window.open = () => null")
    page = await visitor.open(await product.page(product.install()))
    await page.locator("#install").get_by_role("button").click()
    await consent(page, "admin", BOTH)
    await choose(page, "Acme Engineering")
    await state_is(page, "done")


@pytest.mark.slow
async def test_a_page_of_ours_does_not_show_in_a_frame(product, visitor):
    link = (await product.open())["authorization_url"]
    visitor.watch.expect("frame")
    page = await visitor.open(await product.page(f'<iframe title="stolen" src="{link}"></iframe>'))
    (frame,) = page.main_frame.child_frames
    await frame.wait_for_load_state()
    assert frame.url != link
    assert await frame.get_by_text("Continue to").count() == 0


@pytest.mark.slow
async def test_a_window_that_another_origin_opened_is_told_nothing(product, stack, visitor):
    link = await product.open_by_token(opener_origin=stack.site.origin.replace("127.0.0.1", "localhost"))
    page = await visitor.open(await product.page())
    await page.evaluate("window.heard = []; addEventListener('message', (e) => heard.push(e.data))")
    async with page.expect_popup() as opening:
        await page.evaluate("(link) => void open(link)", link)
    popup = await opening.value
    await consent(popup)
    await reads(popup, "Installed")
    await popup.wait_for_event("close")
    assert await page.evaluate("heard") == []
