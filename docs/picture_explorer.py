"""Take a picture of the explorer, docs/explorer.png: `python -m docs.picture_explorer`.

Needs Chromium and playwright. The picture has 256 colours, so that it stays below 300 KB.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from birefnet_lite import load
from widgets.explorer.page import write_file

TARGET = Path(__file__).parent / "explorer.png"
SIZE = {"width": 1280, "height": 800}
PART = "decoder.stage2.out"


def photograph(page_file: Path) -> Image.Image:
    """The explorer after a run on the second sample photo, as a visitor sees it."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))
    from labserver import ARGUMENTS, chromium_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(240_000)
        page.goto(f"{page_file.as_uri()}#photo=astronaut&part={PART}")
        page.wait_for_selector('[data-explorer][data-state="done"]')
        page.wait_for_selector('[data-at="part-view"] canvas[data-panel="focus"][data-state="drawn"]')
        # The time says something about this machine, not about the page.
        page.evaluate("document.querySelector('[data-at=status]').textContent = 'Computed on this device.'")
        picture = page.screenshot()
        browser.close()
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main() -> None:
    """Write the page, open it, and save what it shows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explorer.html"
        write_file(path, load("nano", "cpu"))
        picture = photograph(path)
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG).save(
        TARGET, optimize=True
    )
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
