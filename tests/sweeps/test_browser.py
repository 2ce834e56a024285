"""The report's page, opened in Chromium."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sweeps.plan import Plan
from sweeps.plan.forms import WHOLE
from sweeps.report import main
from tests.sweeps.browsing import watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def report(browsed: Plan, browsed_storage: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the saved page."""
    folder = tmp_path_factory.mktemp("report")
    assert main({WHOLE: browsed}, browsed_storage, "json", folder) == 0
    return (folder / "report.html").as_uri()


def test_the_report_plays_its_clips_and_asks_nobody(browser: "Browser", report: str) -> None:
    wrong: list[str] = []
    page = watched(browser, report, wrong)
    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.goto(report)
    page.wait_for_function("[...document.querySelectorAll('video')].every(clip => clip.readyState >= 2)")
    assert page.locator("video").count() == 2 * 7
    page.get_by_role("button", name="play all").first.click()
    page.wait_for_function(
        "[...document.querySelectorAll('.scene:first-of-type video')].every(clip => clip.currentTime > 0.1)"
    )
    playing = page.evaluate("[...document.querySelectorAll('video')].filter(clip => !clip.paused).length")
    assert playing == 7, "one clip in every arm"
    page.locator("summary").click()
    assert page.get_by_role("columnheader", name="smallest p").is_visible()
    assert wrong == []
    page.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_of_the_report(browser: "Browser", report: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(report)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    figure = page.locator(".figures svg").first.bounding_box()
    assert figure is not None
    assert figure["width"] > 0.85 * width if width == 400 else figure["width"] > 400
    cut = page.evaluate(
        """[...document.querySelectorAll('.figures svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1;
            }).map(text => text.textContent);
        })"""
    )
    assert cut == [], "labels end inside their figure"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(browser: "Browser", report: str, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(report)
    contrasts = page.evaluate(
        """() => {
            const light = colour => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
                    part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const paper = light(getComputedStyle(document.body).backgroundColor);
            const against = colour => {
                const [low, high] = [light(colour), paper].sort((a, b) => a - b);
                return (high + 0.05) / (low + 0.05);
            };
            const found = {paper: paper};
            for (const place of ['h1', '.key', '.better .change', '.worse .change', '.about'])
                found[place] = against(getComputedStyle(document.querySelector(place)).color);
            for (const text of document.querySelectorAll('.figures text'))
                found[text.textContent] = against(getComputedStyle(text).fill);
            return found;
        }"""
    )
    assert (contrasts.pop("paper") > 0.5) == (scheme == "light")
    assert len(contrasts) > 10
    assert min(contrasts.values()) >= 4.5, contrasts
    page.close()


def test_without_scripts_the_report_has_all_but_one_button(browser: "Browser", report: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report)
    assert page.get_by_role("heading", name="browsed").is_visible()
    assert page.locator(".figures svg").first.is_visible()
    assert page.locator("video").first.is_visible()
    assert not page.locator(".play").first.is_visible()
    page.close()
