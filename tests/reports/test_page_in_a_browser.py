"""The page as its readers have it: opened from disk in a real browser, in both themes, with mouse and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from browser import CHROMIUM, Browser
from runs_made_up import fake_run

from reports.page import write_report

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed here (chromium of Debian is one)")
_HIDDEN = "[...document.querySelectorAll('[data-editor=\"{}\"]')].map(e => getComputedStyle(e).display === 'none')"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    runs = [
        fake_run(root / str(s), e, k, s) for e, k in (("none", 1.0), ("ft", 0.3), ("grace", 0.95)) for s in (0, 1)
    ]
    return write_report(runs, root / "out")


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("profile"))
    one.look(1280)
    one.open(page)
    yield one
    one.close()


def test_every_figure_is_there_and_drawn(browser: Browser, page: Path) -> None:
    names = {p.stem for p in (page.parent / "figures").glob("*.svg")}
    figures = browser.js(
        "Object.fromEntries([...document.querySelectorAll('figure:has(.plots)')].map(f => "
        "[f.id, [...f.querySelectorAll('.plot svg')].map(s => [s.getBoundingClientRect().width, "
        "s.getBoundingClientRect().height, s.querySelectorAll('path, use, image').length])]))"
    )
    assert set(figures) == names and len(names) >= 12
    for name, plots in figures.items():
        assert plots and all(width > 60 and height > 40 and marks > 8 for width, height, marks in plots), name
    said = browser.js("[...document.querySelectorAll('.plots')].map(p => [p.getAttribute('role'), p.ariaLabel])")
    assert all(role == "img" and len(words) > 60 for role, words in said)


def test_what_figures_refer_to_is_in_the_page_once(browser: Browser) -> None:
    ids = browser.js("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    used = browser.js("[...document.querySelectorAll('use')].map(e => e.getAttribute('href').slice(1))")
    clips = browser.js(
        "[...document.querySelectorAll('[clip-path]')].map(e => e.getAttribute('clip-path').slice(5, -1))"
    )
    assert used and clips and set(used) <= set(ids) and set(clips) <= set(ids)


def test_a_legends_button_hides_an_editor_in_all_figures_by_click_and_by_key(browser: Browser) -> None:
    shown = browser.js(_HIDDEN.format("ft"))
    in_figures = browser.js(
        "new Set([...document.querySelectorAll('[data-editor=ft]')].map(e => e.closest('figure').id)).size"
    )
    assert len(shown) > 20 and not any(shown) and in_figures >= 8
    browser.js("document.querySelector('.legend button[data-of=ft]').click()")
    assert all(browser.js(_HIDDEN.format("ft"))) and not any(browser.js(_HIDDEN.format("grace")))
    pressed = "[...document.querySelectorAll('button[data-of=ft]')].map(b => b.getAttribute('aria-pressed'))"
    assert set(browser.js(pressed)) == {"false"}
    browser.js("document.querySelector('figure button[data-of=ft]').focus()")
    browser.press(" ", 32, " ")
    assert not any(browser.js(_HIDDEN.format("ft"))) and set(browser.js(pressed)) == {"true"}


def test_a_table_sorts_by_its_numbers_up_and_down_and_says_so(browser: Browser, page: Path) -> None:
    column = "[...document.querySelectorAll('#evidence-rows tbody tr')].map(r => r.cells[{0}].dataset.v)"
    at = browser.js(
        "[...document.querySelectorAll('#evidence-rows th')].findIndex(h => h.innerText.trim() === 'Rel')"
    )
    button = f"document.querySelectorAll('#evidence-rows thead th')[{at}].querySelector('button')"
    browser.js(f"{button}.focus()")
    browser.press("Enter", 13, "\r")
    up = [float(v) for v in browser.js(column.format(at))]
    browser.js(f"{button}.click()")
    down = [float(v) for v in browser.js(column.format(at))]
    assert up == sorted(up) and down == up[::-1] and len(set(up)) > 1
    assert browser.js(f"{button}.closest('th').getAttribute('aria-sort')") == "descending"
    assert browser.js("document.querySelectorAll('#evidence-rows [aria-sort]').length") == 1
    rows = pl.read_csv(page.parent / "tables" / "evidence.csv").filter(pl.col("measure") == "Rel")
    assert max(up) == pytest.approx(rows["mean"].max())


def test_a_table_filters_and_says_how_many_rows_are_left(browser: Browser) -> None:
    shown = "[...document.querySelectorAll('#summary-rows tbody tr')].filter(r => r.offsetParent).length"
    whole = browser.js(shown)
    for words, fewer in (("locality", True), ("", False)):
        browser.js(
            f"(i => {{ i.value = {json.dumps(words)}; i.dispatchEvent(new Event('input', {{bubbles: true}})); }})("
            "document.querySelector('[data-filters=summary-rows]'))"
        )
        assert (0 < browser.js(shown) < whole) if fewer else browser.js(shown) == whole
        said = browser.js("document.querySelector('[data-filters=summary-rows]').nextElementSibling.innerText")
        assert said.endswith(f"of {whole} rows") == fewer


def test_nothing_is_requested_and_nothing_goes_wrong(browser: Browser, page: Path) -> None:
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    assert not browser.errors


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_its_window(browser: Browser, width: int) -> None:
    browser.look(width)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.js("document.querySelector('details.contents').open") == (width > 960)
    browser.look(1280)


# The contrast by WCAG 2 of each text that is shown with the ground below it, in colours that the browser computed.
_CONTRASTS = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true}), known = new Map();
  const rgba = (c) => { if (!known.has(c)) { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1); known.set(c, [...canvas.getImageData(0, 0, 1, 1).data]); } return known.get(c); };
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c; } return [255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !e.checkVisibility() || ["SCRIPT", "STYLE"].includes(e.tagName)) continue;
    const style = getComputedStyle(e), colour = rgba(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(colour), light(ground(e))].sort((x, y) => x - y);
    found.push([Math.round(100 * (b + 0.05) / (a + 0.05)) / 100, text.slice(0, 40), e.tagName]);
  }
  return found.sort((x, y) => x[0] - y[0]).slice(0, 5).concat([[found.length, "", ""]]);
})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa_in_both_themes(browser: Browser, theme: str) -> None:
    browser.look(1280, theme)
    ground = browser.js("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    *worst, (texts, _, _) = browser.js(_CONTRASTS)
    assert texts > 500 and worst[0][0] >= 4.5, worst
    browser.look(1280)


def test_the_switch_turns_the_page_dark_whatever_the_reader_prefers(browser: Browser) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    before = browser.js(colour)
    browser.js("document.getElementById('theme').click()")
    assert browser.js(colour) != before and browser.js("document.getElementById('theme').ariaPressed") == "true"
    browser.js("document.getElementById('theme').click()")
    assert browser.js(colour) == before


def test_in_print_everything_is_black_on_white_without_what_cannot_be_pressed(browser: Browser) -> None:
    browser.js("document.documentElement.dataset.theme = 'dark'")
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    gone = "[...document.querySelectorAll('.side, .filter, .downloads')].map(e => getComputedStyle(e).display)"
    assert set(browser.js(gone)) == {"none"}
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
    browser.js("delete document.documentElement.dataset.theme")
