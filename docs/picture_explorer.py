"""Record the explorer, docs/explorer.webp: `python -m docs.picture_explorer`. The photo flows through the network.

Needs Chromium and playwright. The animation runs twice and ends on the finished mask. It stays below 1.4 MB.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from birefnet_lite import load
from widgets.explorer.page import write_file

TARGET = Path(__file__).parent / "explorer.webp"
SIZE = {"width": 1440, "height": 1120}
SHOWN = (1000, 778)
STEP, LAST = 220, 3000
"""Milliseconds that a frame is shown, and the last one."""


def record(page_file: Path) -> list[Image.Image]:
    """Return the explorer with the second sample photo, part by part as *Play* runs through the network."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))
    from labserver import ARGUMENTS, chromium_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(240_000)
        page.goto(f"{page_file.as_uri()}#photo=astronaut&part=logits")
        page.wait_for_selector('[data-explorer][data-state="done"]')
        page.wait_for_selector('[data-at="part-view"] canvas[data-panel="focus"][data-state="drawn"]')
        # The time says something about this machine, not about the page.
        page.evaluate("document.querySelector('[data-at=status]').textContent = 'Computed on this device.'")

        def look() -> Image.Image:
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            return picture.resize(SHOWN, Image.Resampling.LANCZOS)

        frames = []
        page.clock.install(time=0)
        page.clock.pause_at(60)  # from here on, time passes only by `run_for`
        page.click("[data-at=play]")
        while page.locator(".map.playing").count():
            frames.append(look())
            page.clock.run_for(230)  # STEP_MS of network_map.js
        frames.append(look())
        browser.close()
    return frames


def main() -> None:
    """Write the page, record it, and save the animation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "explorer.html"
        write_file(path, load("nano", "cpu"))
        frames = record(path)
    first, *others = [frame for frame, before in zip(frames, [None, *frames[:-1]], strict=True) if frame != before]
    durations = [STEP] * len(others) + [LAST]
    first.save(TARGET, save_all=True, append_images=others, duration=durations, loop=2, quality=60, method=6)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB, {len(durations)} frames")


if __name__ == "__main__":
    main()
