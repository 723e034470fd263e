"""Slides in a real browser with the network cut: they show themselves, fit, and ask for nothing."""

import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from slides import to_html

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


@pytest.mark.parametrize("stem", ["02_backbone"])
def test_every_slide_is_seen_and_nothing_is_asked_for(watched, tmp_path, stem):
    path = tmp_path / "slides.html"
    path.write_text(to_html(nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4), stem), encoding="utf-8")
    page, requests = watched.page, []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: watched.errors.append(message.text) if message.type == "error" else None)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")

    # The first slide is drawn: dark letters on the light card.
    grey = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    assert 0.005 < (grey < 100).mean() < 0.3
    assert (grey > 240).mean() > 0.6
    heading = page.locator("section.present section.present h1").bounding_box()
    assert 0 <= heading["x"] < 200
    assert 0 <= heading["y"] < 200

    # Formulas are formulas: no dollar is left, and none is in error.
    assert page.locator("math").count() >= 5
    assert page.locator(".temml-error").count() == 0
    assert (
        page.evaluate("[...document.querySelectorAll('.slides p')].filter((p) => p.textContent.includes('$')).length")
        == 0
    )

    total = page.evaluate("Reveal.getTotalSlides()")
    assert total > 15
    for _ in range(total):
        height, scrolls = page.evaluate(
            "(() => { const s = Reveal.getCurrentSlide(); return [s.scrollHeight, s.classList.contains('tall')]; })()"
        )
        assert height <= 802 or scrolls
        assert page.evaluate("Reveal.getCurrentSlide().innerText.trim().length") > 0
        page.keyboard.press("Space")
    assert page.evaluate("Reveal.isLastSlide()")
    assert requests == [path.as_uri()]
    assert watched.errors == []


def test_the_speaker_has_the_answers(watched, tmp_path):
    path = tmp_path / "slides.html"
    path.write_text(to_html(nbformat.read(NOTEBOOKS / "02_backbone.ipynb", as_version=4), "02"), encoding="utf-8")
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector("html[data-ready]")
    assert watched.page.locator("aside.notes").count() == 3
    assert not watched.page.locator("aside.notes").first.is_visible()
    assert watched.page.evaluate("Reveal.hasPlugin('notes')")


def test_the_key_p_makes_them_large_and_black_on_white_and_back(watched, tmp_path):
    path = tmp_path / "slides.html"
    path.write_text(to_html(nbformat.read(NOTEBOOKS / "02_backbone.ipynb", as_version=4), "02"), encoding="utf-8")
    page = watched.page
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    look = """(() => { const s = getComputedStyle(document.querySelector('section.present section.present p'));
        return [parseFloat(s.fontSize), s.color, getComputedStyle(document.body).backgroundColor]; })()"""
    before = page.evaluate(look)
    page.keyboard.press("p")
    size, colour, ground = page.evaluate(look)
    assert size > 1.2 * before[0]
    assert (colour, ground) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    page.keyboard.press("Space")
    assert page.evaluate("(s => s.scrollHeight <= 802 || s.classList.contains('tall'))(Reveal.getCurrentSlide())")
    page.keyboard.press("p")
    page.keyboard.press("Shift+Space")
    assert page.evaluate(look) == before
    assert watched.errors == []
