"""The page as people use it: links, filters, the copy button, accessibility, at the widths of a phone and of a desk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.driver import Browser

WIDTHS = (390, 1280)
SHOWN = "return [...document.querySelectorAll('article.finding, #all tbody tr')].filter((e) => !e.hidden).length"
# axe-core's rules of WCAG 2.1 AA and its best practices. The policy of the page forbids foreign scripts to it, not
# to the driver, which runs this one.
AXE = """
const found = await axe.run(document);
const told = (one) => one.nodes.map((node) => node.html.slice(0, 120)).join(' ; ');
return found.violations.map((one) => `${one.id}: ${one.help}: ${told(one)}`);
"""


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def opened(browser: Browser, folder: Path, width: int, fragment: str = "") -> None:
    browser.open("about:blank")
    browser.resize(width)
    browser.open(f"{(folder / 'index.html').as_uri()}{fragment}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(browser: Browser, site: Path, axe: str, width: int, scheme: str) -> None:
    browser.prefer(scheme)
    opened(browser, site / "eventful", width)
    browser.script("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.script(f"{axe}\n{AXE}") == []


def test_the_page_is_no_wider_than_the_screen(browser: Browser, site: Path, width: int) -> None:
    for name in ("eventful", "hostile"):
        opened(browser, site / name, width)
        assert browser.script("return document.documentElement.scrollWidth") <= width


def test_a_level_is_a_filter_and_the_filter_is_in_the_address(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width)
    whole = browser.script(SHOWN)
    browser.click("a[data-level=durability]")
    assert browser.address.endswith("#level=durability")
    some = browser.script(SHOWN)
    assert 0 < some < whole
    browser.click("button[type=reset]")
    assert browser.script("await new Promise((r) => setTimeout(r, 50)); " + SHOWN) == whole


def test_an_address_with_a_filter_shows_what_it_says(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width, "#verdict=hang&text=write")
    assert browser.script("return document.querySelector('#filters').elements.verdict.value") == "hang"
    shown = "return [...document.querySelectorAll('article.finding')].filter((e) => !e.hidden).map((e) => e.innerText)"
    [finding] = browser.script(shown)
    assert "WRITE-05" in finding
    browser.type("input[name=text]", "nothing of this kind")
    assert browser.script(SHOWN) == 0
    assert "text=writenothing" in browser.address


def test_the_clause_of_an_address_can_be_typed(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width)
    browser.type("input[name=clause]", "fin-01")
    rows = "[...document.querySelectorAll('#all tbody tr')].filter((row) => !row.hidden)"
    assert browser.script(f"return {rows}.map((row) => row.cells[0].innerText)") == ["FIN-01"]


def test_the_copy_button_copies_the_line_that_reproduces(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width)
    caught = "window.caught = []; document.addEventListener('copy', () => caught.push(String(getSelection())))"
    browser.script(f"{caught}; navigator.clipboard.writeText = async (text) => {{ caught.push(text); }}")
    line = browser.script("return document.querySelector('article.finding .command code').textContent")
    browser.click("article.finding button.copy")
    assert browser.script("return window.caught") == [line]
    assert browser.script("return document.querySelector('article.finding button.copy').textContent") == "Copied"


def test_every_link_inside_leads_somewhere(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width)
    lost = """
    const inside = [...document.querySelectorAll('a[href^="#"]')].map((link) => link.getAttribute('href').slice(1));
    return inside.filter((name) => !name.includes('=') && !document.getElementById(name));
    """
    assert browser.script(lost) == []
    assert browser.script("return document.querySelector('footer a').getAttribute('href')") == "certificate.json"


def test_the_text_of_a_backend_does_nothing(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "hostile", width)
    assert browser.script("return document.title") != "owned"
    assert browser.script("return document.querySelectorAll('img').length + document.scripts.length") == 1
    assert "document.title='owned'" in browser.script("return document.querySelector('.observed').textContent")


def test_a_keyboard_reaches_the_findings_first(browser: Browser, site: Path, width: int) -> None:
    opened(browser, site / "eventful", width)
    first = "return document.querySelector('a, button, input, select, [tabindex]').getAttribute('href')"
    assert browser.script(first) == "#findings"
