"""Screenshots of every view as a page, at three widths, light and dark: what to look at after a change of the views.

    python -m docs.screenshots FOLDER [VIEW ...]

The pages are those of the gallery. Pages that are in the folder already are not computed again: they get the front end
as it is now. Needs Chromium and playwright.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from docs.views import VIEWS, build_pages, gallery_pages
from widgets.front_end import CODE, STYLE
from widgets.html_page import write_page

WIDTHS, HEIGHT = (390, 1024, 1280), 800
THEMES = ("light", "dark")
STATE = re.compile(r'<script type="application/json" id="state">(.*?)</script>', re.DOTALL)


def renew_page(path: Path) -> None:
    """Give a page the front end as it is now."""
    found = STATE.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{path} is not a page of a view.")
    write_page(path, json.loads(found[1]), CODE, STYLE)


def photograph(folder: Path, names: list[str]) -> None:
    """Write `NAME-WIDTH-THEME.png` of the whole page for each view."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "browser"))
    from labserver import ARGUMENTS, chromium_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
        page = browser.new_page()
        for name in names:
            for width in WIDTHS:
                for theme in THEMES:
                    page.set_viewport_size({"width": width, "height": HEIGHT})
                    page.emulate_media(color_scheme=theme)
                    page.goto((folder / f"{name}.html").resolve().as_uri())
                    page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png", full_page=True)
        browser.close()


def main() -> None:
    """Build what is missing, and photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("views", nargs="*", help="names of views; all without any")
    options = parser.parse_args()
    names = options.views or list(VIEWS)
    if unknown := [name for name in names if name not in VIEWS]:
        parser.error(f"There is no view {', '.join(unknown)}. There are: {', '.join(VIEWS)}.")
    there = [name for name in names if (options.folder / f"{name}.html").exists()]
    build_pages(options.folder, gallery_pages(name for name in names if name not in there))
    for name in there:
        renew_page(options.folder / f"{name}.html")
    photograph(options.folder, names)


if __name__ == "__main__":
    main()
