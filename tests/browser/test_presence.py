"""Two people at one desk, in two browsers: each sees that the other is looking, until they leave; and one hands over to the other."""

import pytest
from playwright.sync_api import Browser, expect

from controlplane import gate
from tests.browser.test_desk import AXE, TAGS, Visit, chromium, held, visit
from tests.browser.test_frame import house, live, port
from tests.controlplane import processes
from tests.world import World

__all__ = ["chromium", "house", "port"]  # the fixtures
SOON = 15_000


def says(seen: Visit, said: gate.Admission, words: str) -> None:
    """The page and the row say exactly this of who else is looking."""
    places = seen.page.locator(f'[data-here="{said.approval}"]')
    expect(places).to_have_text([words, words], timeout=SOON)


def test_each_sees_that_the_other_is_looking_until_they_leave(port: int, chromium: Browser, world: World) -> None:
    said, other = held(world), held(world)
    ann, ben = visit(chromium, port, world, "ann"), visit(chromium, port, world, "ben")
    live(ben, f"approvals/{said.approval}?tab=all")
    says(ben, said, "")
    live(ann, f"approvals/{said.approval}?tab=all")
    says(ben, said, " · ann is looking")
    says(ann, said, " · ben is looking")
    expect(ben.page.locator("#detail")).to_contain_text("ann is looking")
    live(ann, f"approvals/{other.approval}?tab=all")
    says(ben, said, "")
    expect(ben.page.locator(f'#list [data-here="{other.approval}"]')).to_have_text(" · ann is looking", timeout=SOON)
    ann.page.context.close()
    expect(ben.page.locator(f'#list [data-here="{other.approval}"]')).to_have_text("", timeout=SOON)
    ben.page.goto(f"{ben.root}/overview")
    expect(ben.page.locator("#live")).to_have_text("Live")
    assert ann.faults == ben.faults == []


def test_a_tab_behind_another_looks_at_nothing(port: int, chromium: Browser, world: World) -> None:
    said = held(world)
    ann, ben = visit(chromium, port, world, "ann"), visit(chromium, port, world, "ben")
    live(ben, f"approvals/{said.approval}?tab=all")
    live(ann, f"approvals/{said.approval}")
    says(ben, said, " · ann is looking")
    for hidden, words in (("true", ""), ("false", " · ann is looking")):
        ann.page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
        ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        says(ben, said, words)


def test_on_a_phone_only_what_is_in_view_is_looked_at(port: int, chromium: Browser, world: World) -> None:
    said = held(world)
    ann, ben = visit(chromium, port, world, "ann", width=390), visit(chromium, port, world, "ben")
    live(ben, f"approvals/{said.approval}?tab=all")
    live(ann, "approvals")
    assert ann.page.evaluate("document.querySelector('[data-looks]').getClientRects().length") == 0
    ann.page.locator(f'a.item[href*="{said.approval}"]').click()
    says(ben, said, " · ann is looking")
    live(ann, "approvals")
    says(ben, said, "")


def test_no_row_grows_under_the_pointer(port: int, chromium: Browser, world: World) -> None:
    name = "Alexandrina Wilhelmina of the Northern Approvals Desk"
    world.join(name, "approver")
    said = held(world)
    ann, ben = visit(chromium, port, world, name), visit(chromium, port, world, "ben")
    page = live(ben, "approvals?tab=all")
    row = page.locator("#list .item").first
    row.hover()
    before = row.bounding_box()
    live(ann, f"approvals/{said.approval}")
    expect(page.locator("#here")).to_have_text(f" · {name} is looking", timeout=SOON)
    assert row.bounding_box() == before
    expect(row.locator("[data-here]")).to_have_text("")
    assert page.locator("#new").is_hidden(), "it is no news of the list"
    page.mouse.move(1300, 700)
    expect(row.locator("[data-here]")).to_have_text(f" · {name} is looking")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_where_somebody_looks_and_a_request_is_handed_over(
    port: int, chromium: Browser, world: World, theme: str
) -> None:
    said = held(world)
    ann, ben = visit(chromium, port, world, "ann"), visit(chromium, port, world, "ben", theme=theme)
    live(ann, f"approvals/{said.approval}")
    for width in (320, 1360):
        ben.page.set_viewport_size({"width": width, "height": 860})
        page = live(ben, f"approvals/{said.approval}?tab=all")
        says(ben, said, " · ann is looking")
        page.locator("summary", has_text="Hand over").click()
        page.evaluate(AXE)
        report = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
        assert [(one["id"], one["nodes"][0]["html"][:160]) for one in report["violations"]] == []
        assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"), width


def test_without_javascript_nobody_is_shown_or_seen_and_a_request_is_handed_over(port: int, chromium: Browser, world: World) -> None:
    said = held(world)
    ann, ben = visit(chromium, port, world, "ann", script=False), visit(chromium, port, world, "ben")
    live(ben, f"approvals/{said.approval}?tab=all")
    ann.page.goto(f"{ann.root}/approvals/{said.approval}?tab=all")
    while ann.page.content().count(" · ben is looking") < 2:
        ann.page.reload()
    assert not any(place.is_visible() for place in ann.page.locator("[data-here]").all())
    says(ben, said, "")
    ann.page.locator("summary", has_text="Hand over").click()
    ann.page.get_by_label("To", exact=True).select_option("ben")
    ann.page.get_by_role("button", name="Hand over", exact=True).click()
    ann.page.get_by_text("handed over by you").wait_for()
    ben.page.locator("#detail").get_by_text("Handed to you by ann").wait_for(timeout=SOON)
    ben.page.locator("#list").get_by_text("Handed to you by ann").wait_for(timeout=SOON)
    assert ben.faults == []


def test_by_key_a_request_is_handed_over(port: int, chromium: Browser, world: World) -> None:
    said = held(world)
    ann = visit(chromium, port, world, "ann")
    page = live(ann, f"approvals/{said.approval}")
    page.keyboard.press("h")
    page.get_by_label("To", exact=True).select_option("cleo")
    page.get_by_role("button", name="Hand over", exact=True).click()
    page.get_by_text("cleo is on it").first.wait_for()
    assert ann.faults == []


def test_where_redis_is_gone_pages_work_and_nobody_is_shown(port: int, house: processes.Fleet, chromium: Browser, world: World) -> None:
    said = held(world)
    ann, ben = visit(chromium, port, world, "ann"), visit(chromium, port, world, "ben")
    live(ben, f"approvals/{said.approval}?tab=all")
    live(ann, f"approvals/{said.approval}")
    says(ben, said, " · ann is looking")
    house.store.stop()
    try:
        ben.page.goto(f"{ben.root}/approvals/{said.approval}?tab=all")
        says(ben, said, "")
        ben.page.get_by_role("button", name="Approve:").wait_for()
    finally:
        house.store.start()
    says(ben, said, " · ann is looking")
