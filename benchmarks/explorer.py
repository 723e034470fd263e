"""Times the explorer in headless Chromium, opened from disk: first picture, loading, a photo, a gate, memory, sizes.

    python benchmarks/explorer.py

Needs Playwright and a Chromium. The page takes the times itself, from the visitor's act to what follows on the screen
(`performance.measure` in widgets/explorer/static), so that nothing counts that this program waits for. Times are
medians of three pages with three gates each; the memory is the largest of the browser's processes.
"""

import io
import shutil
import tempfile
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
GATES = 3
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
    rows = [["", "measured", "limit"]]
    for label, unit, limit in LABELS:
        rows.append([label, f"{median(run[label] for run in runs):.2f} {unit}", limit])
    rows += [["one file", f"{size:.1f} MB", "22 MB"], ["folder, first load", f"{first:.2f} MB", "1.5 MB"]]
    print(format_table(rows))


LABELS = (
    ("recorded picture", "s", "1 s"),
    ("ready", "s", "6 s"),
    ("photo to all maps, less the run", "s", "1 s"),
    ("of it, reading the photo", "s", ""),
    ("gate to the new mask, less the run", "s", "0.2 s"),
    ("views after a gate", "s", ""),
    ("a run", "s", "0.8 s"),
    ("memory", "MiB", "700 MiB"),
)


def measure(path: Path, photo: bytes) -> dict[str, float]:
    """One page: what `LABELS` names."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # The page's own security policy would refuse the programs that `wait_for_function` evaluates.
        page = browser.new_context(offline=True, bypass_csp=True).new_page()
        page.set_default_timeout(240_000)
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector('[data-state="ready"]')
        wait_for(page, "ready", 1)
        page.set_input_files("input[data-photo]", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo})
        wait_for(page, "views", 1)
        gate = page.locator('input[data-gate="decoder.stage2.inward_reference"]')
        for count in range(1, GATES + 1):
            gate.set_checked(count % 2 == 0)
            wait_for(page, "views", 1 + count)
        memory = max(
            child.memory_info().rss
            for child in psutil.Process().children(recursive=True)
            if any("type=renderer" in part for part in child.cmdline())
        )
        taken = page.evaluate(
            "performance.getEntriesByType('measure').map((m) => [m.name, m.duration / 1000, m.detail])"
        )
        browser.close()
    by_name: dict[str, list[tuple[float, dict[str, float]]]] = {}
    for name, seconds, detail in taken:
        by_name.setdefault(name, []).append((seconds, detail))
    ((photo_seconds, told),) = by_name["photo"]
    return {
        "recorded picture": by_name["recorded"][0][0],
        "ready": by_name["ready"][0][0],
        "photo to all maps, less the run": photo_seconds - told["forward"],
        "of it, reading the photo": told["reading"],
        "gate to the new mask, less the run": median(s - d["forward"] for s, d in by_name["gate"]),
        "views after a gate": median(seconds for seconds, _ in by_name["views"][1:]),
        "a run": median(detail["forward"] for _, detail in by_name["gate"]),
        "memory": memory / MIB,
    }


def wait_for(page: Page, name: str, count: int) -> None:
    """Until the page has taken a time of this name that often."""
    page.wait_for_function(f"performance.getEntriesByName('{name}').length >= {count}")


if __name__ == "__main__":
    main()
