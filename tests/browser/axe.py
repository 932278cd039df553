"""axe-core, which finds what keeps people with a keyboard, a screen reader or weak eyes out of a page."""

from playwright.sync_api import Page

from tests.server import ROOT

SCRIPT = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
RUN = """() => axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, any }) => `${id}: ${target.join(' ')} ${any[0]?.message ?? ''}`)))"""


def findings(page: Page) -> list[str]:
    """Every violation of every rule, a line each: the rule, the element, why."""
    # By the debugger: the page's own policy lets no foreign script in.
    page.evaluate(SCRIPT.read_text())
    found: list[str] = page.evaluate(RUN)
    return found
