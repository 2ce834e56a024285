"""Pages in Chromium."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


def watched(browser: "Browser", own: str, foreign: list[str], **options: Any) -> "Page":
    """A page that gets only what lies under an address of our own; what else it asks for is noted."""
    page = browser.new_page(**options)

    def answer(route: "Route") -> None:
        if route.request.url.startswith((own, "data:", "blob:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    page.route("**", answer)
    page.on("pageerror", lambda error: foreign.append(f"script error: {error}"))
    return page
