"""The pages in a real browser: what needs scripts, and that nothing is refused by the content policy.

Skipped where Playwright, or a Chromium that it did not download itself, is not installed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.tiny_store import write_tiny_store
from tests.web_for_tests import Server, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.runs_for_tests import QuickRun

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

SCRIPT = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
RIGHT_TO_LEFT = "before \u202eafter"
LONG = "w" * 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    titles = [SCRIPT, RIGHT_TO_LEFT, LONG, *(f"Title {i}" for i in range(3, 60))]
    path = tmp_path_factory.mktemp("browser") / "s.h5"
    write_tiny_store(path, entities=60, mentions=(80, 20, 27), change={"entities/title": titles})
    with serving(path) as running:
        yield running


@pytest.fixture(params=[1200, 400])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page at a width; fails where the browser complains, or the page is wider than its window."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    opened = context.new_page()
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    yield opened
    assert opened.evaluate("document.documentElement.scrollWidth") <= request.param
    context.close()
    assert complaints == []


def test_a_search_follows_the_typing_and_stays_in_the_address(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/mentions")
    assert page.locator(".total b").inner_text() == "127"
    page.get_by_label("Search").press_sequentially("name12")
    page.locator(".total b", has_text=re.compile("^8$")).wait_for()  # 12, 120 … 126
    assert page.url == f"{server.url}/mentions?q=name12"
    page.get_by_label("Split").select_option("train")
    page.locator(".total b", has_text=re.compile("^1$")).wait_for()
    page.get_by_text("Clear").click()
    assert page.url == f"{server.url}/mentions"


def test_from_a_list_to_a_mention_to_a_candidate_and_back(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/mentions?split=test")
    page.locator("a.main").nth(2).click()
    page.wait_for_url("**/mention/m102-0?split=test")
    assert page.locator("mark").first.inner_text() == "name102"
    assert page.locator("tr.gold").count() == 1
    link = page.locator(".candidates tbody a").first
    words = link.inner_text()
    link.click()
    page.wait_for_url("**/entity/*")
    assert page.locator("h1").inner_text() == words
    page.locator("#neighbours ol a").nth(9).wait_for()
    page.go_back()
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**/mention/m103-0?split=test")
    page.go_back()
    page.go_back()
    assert page.url == f"{server.url}/mentions?split=test"


def test_paging(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/entities")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**/entities?page=2")
    assert page.locator(".rows li").count() == 10


def test_keys(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/mentions")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/mention/m1-0")
    page.keyboard.press("n")
    page.wait_for_url("**/mention/m2-0")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/entities")
    page.keyboard.press("/")
    page.keyboard.type("j")  # now a letter like any other
    assert page.get_by_label("Search").input_value() == "j"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_label("Use single keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.goto(f"{server.url}/mentions")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_the_map_says_what_is_under_the_pointer_and_opens_it(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/map")
    drawing = page.locator(".map.live svg")
    drawing.wait_for()
    points = server.site.store
    assert len(points.entities) == 60
    x, y, _, words, address = page.evaluate(
        "fetch('/map.json').then(answer => answer.json()).then(map => map.points[5])"
    )
    frame = drawing.bounding_box()
    assert frame is not None
    scale = frame["width"] / 1000
    at = {"x": x * scale, "y": y * scale}
    drawing.hover(position=at)
    assert words in page.locator("[data-map-status]").inner_text()
    drawing.click(position=at)
    page.wait_for_url(f"**{address}")
    page.go_back()
    page.locator(".map.live svg").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("[data-map-status] a").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/(mention|entity)/"))


@pytest.mark.parametrize("place", range(3))
def test_hostile_titles_are_shown_as_text(server: Server, page: Page, place: int) -> None:
    title = (SCRIPT, "before \\u202eafter", LONG)[place]
    page.goto(f"{server.url}/entities")
    assert page.locator(".rows .main").nth(place).inner_text() == (
        title if len(title) <= 120 else title[:119] + "…"
    )
    page.goto(f"{server.url}/entity/Q{100 + place}")
    assert page.locator("h1").inner_text() == (title if len(title) <= 200 else title[:199] + "…")
    assert page.title() != "taken"
    assert page.locator("main img[src='x']").count() == 0


def test_pages_work_without_scripts(server: Server, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{server.url}/")
    page.get_by_label("Search").fill("title 7")
    page.get_by_role("button", name="Entities").click()
    page.wait_for_url("**/entities?q=title+7")
    assert page.locator(".rows li").count() == 1
    page.goto(f"{server.url}/mentions")
    page.get_by_label("Split").select_option("valid")
    page.get_by_role("button", name="Show").click()
    assert page.locator(".total b").inner_text() == "20"
    context.close()


def test_boxes_lie_over_the_picture_and_can_be_hidden(server: Server, page: Page) -> None:
    table = server.site.store.mentions
    row = int(np.flatnonzero(table.view("thumbnail_size"))[0])
    page.goto(f"{server.url}/mention/m{row}-0")
    drawing = page.locator("svg.boxes")
    assert drawing.locator("rect").count() == 3
    picture = page.locator(".big img").bounding_box()
    assert drawing.bounding_box() == picture
    page.get_by_label("3 detected").uncheck()
    assert not drawing.is_visible()


@pytest.fixture(scope="module")
def judged(quick: QuickRun) -> Iterator[Server]:
    """With a run. Its edges have a process of their own, which takes seconds to load torch."""
    with serving(Path(quick.store), [quick.folder]) as running:
        yield running


def test_wrong_ones_scores_and_edges_of_a_run(judged: Server, page: Page) -> None:
    page.goto(f"{judged.url}/mentions")
    page.get_by_label("Model").select_option("drin")
    page.wait_for_url("**/mentions?wrong=drin")
    run = judged.site.runs[0]
    page.locator(".total b", has_text=re.compile(f"^{int(run.wrong.sum())}$")).wait_for()
    page.locator("a.main").first.click()
    page.locator("td.layers").first.wait_for(timeout=60_000)
    page.locator("th").get_by_role("link", name="drin").dispatch_event("click")
    page.wait_for_url("**by=drin")
    assert page.locator("td.score b").first.inner_text() == "1"
