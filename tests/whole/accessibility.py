"""What axe says of a page: WCAG 2.2, levels A and AA."""

from itertools import product

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

#: Axe is put into a document once. Only what it objects to is worked out and told: of all else there is too much.
RUN = """async (tags) => {
  const options = { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"] };
  const { violations } = await axe.run(options);
  return violations.map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ target }) => String(target))]);
}"""
THEMES, WIDTHS = ("light", "dark"), (360, 1440)
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Page) -> list[str]:
    """What axe finds of WCAG levels A and AA: the rule and where."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    return [f"{rule}: {', '.join(where)}" for rule, where in page.evaluate(RUN, TAGS)]


def looked_at(page: Page) -> list[str]:
    """What axe finds in both themes, at both widths, and whether it scrolls sideways.

    The page follows the system's theme without being loaded again, so this costs less than coming back in each of them.
    """
    found: list[str] = []
    for theme, width in product(THEMES, WIDTHS):
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # colours change at once, before axe looks
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator("html")).to_have_attribute("data-bs-theme", theme, timeout=20_000)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        problems = violations(page) + ([f"{overflow} px too wide"] if overflow > 0 else [])
        found += [f"{theme}, {width} px: {problem}" for problem in problems]
    return found
