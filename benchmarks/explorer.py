"""Times the explorer in headless Chromium, opened from disk: first picture, loading, a photo, a gate, memory, sizes.

    python benchmarks/explorer.py

Needs Playwright and a Chromium. Times are medians of three pages; the memory is the largest of the browser's processes.
"""

import io
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import birefnet_lite
from birefnet_lite.output import format_table
from birefnet_lite.photos import load_photo
from widgets.explorer.page import write_file, write_folder

PAGES = 3
MIB = 2**20


def main() -> None:
    """Write the page, measure it and print a table."""
    model = birefnet_lite.load("nano", "cpu")
    stream = io.BytesIO()
    Image.fromarray(load_photo("coffee")[0]).save(stream, "JPEG", quality=95)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_file(folder / "explorer.html", model)
        write_folder(folder / "site", model)
        runs = [measure(folder / "explorer.html", stream.getvalue()) for _ in range(PAGES)]
        size, first = ((folder / file).stat().st_size / 1e6 for file in ("explorer.html", "site/index.html"))
    rows = [["", "measured", "bar"]]
    bars = ["1 s", "6 s", "1 s + the run", "", "0.2 s + the run", "700 MiB"]
    for (label, unit), values, bar in zip(LABELS, zip(*runs, strict=True), bars, strict=True):
        rows.append([label, f"{median(values):.2f} {unit}", bar])
    rows += [["one file", f"{size:.1f} MB", "22 MB"], ["folder, first load", f"{first:.2f} MB", "1.5 MB"]]
    print(format_table(rows))


LABELS = (
    ("recorded picture", "s"),
    ("ready", "s"),
    ("photo to all maps", "s"),
    ("of it, the run", "s"),
    ("gate to the new mask", "s"),
    ("memory", "MiB"),
)


def measure(path: Path, photo: bytes) -> list[float]:
    """One page, in the order of `LABELS`."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector('canvas[data-layer="logits"][data-state="drawn"]')
        recorded = time.perf_counter() - start
        page.wait_for_selector('[data-state="ready"]', timeout=120_000)
        ready = time.perf_counter() - start
        file = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo}
        shown = timed(page, lambda: page.set_input_files("input[data-photo]", file))
        run = float(page.inner_text('[data-at="status"]').split()[-2])
        gate = timed(page, lambda: page.uncheck('input[data-gate="decoder.stage2.inward_reference"]'))
        memory = max(
            child.memory_info().rss
            for child in psutil.Process().children(recursive=True)
            if any("type=renderer" in part for part in child.cmdline())
        )
        browser.close()
    return [recorded, ready, shown, run, gate, memory / MIB]


def timed(page: Page, act) -> float:
    """Seconds from an act to the maps that follow from it."""
    start = time.perf_counter()
    act()
    page.wait_for_selector('[data-state="running"]')
    page.wait_for_selector('[data-state="done"]')
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
