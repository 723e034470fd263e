"""Notebook 00 as a newcomer runs it: JupyterLab, Run All, and a view that moves."""

import shutil
from pathlib import Path

from labserver import OUTPUTS

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_start_here.ipynb"
FOCUS = '[data-viewer="feature_pyramid"] canvas[data-panel="focus"]'

# The pixels of the picture in focus, as one number.
PIXELS = """(canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((sum, value) => (sum * 31 + value) % 1000000007, 0);
}"""


def test_run_all_gives_no_error_and_a_view_that_moves(lab, lab_page):
    shutil.copy(NOTEBOOK, lab.folder / NOTEBOOK.name)
    page = lab_page.page
    lab.open(page, NOTEBOOK.name)
    lab.run_all(page)

    shown = page.evaluate(OUTPUTS)
    assert [count for count, _ in shown] == list(range(1, len(shown) + 1))
    kinds = [kind for _, outputs in shown for kind in outputs]
    assert "error" not in kinds
    assert [kind for kind in kinds if kind.startswith("stderr")] == []
    assert sum(kind.startswith("widget Viewer(") for kind in kinds) == 3  # and no bar is a widget, too
    assert kinds.count("image/png") >= 4  # the map, the still picture of the view, photos and masks

    focus = page.locator(f'{FOCUS}[data-state="drawn"]')
    focus.scroll_into_view_if_needed()
    before, draws = focus.evaluate(PIXELS), int(focus.get_attribute("data-draws"))
    channel = focus.get_attribute("data-channel")
    page.locator('[data-viewer="feature_pyramid"] .bv-channel-slider').focus()
    page.keyboard.press("ArrowRight")  # JupyterLab must not take it for a move between cells
    page.wait_for_selector(f'{FOCUS}[data-state="drawn"]:not([data-channel="{channel}"])')
    assert int(focus.get_attribute("data-draws")) > draws
    assert focus.evaluate(PIXELS) != before

    page.locator('[data-viewer="feature_pyramid"] button.bv-panel:has(canvas[data-layer="squeeze"])').click()
    page.wait_for_selector(f'{FOCUS}[data-state="drawn"][data-layer="squeeze"]')

    assert page.locator('[role="alert"]:visible').count() == 0
    assert lab_page.errors == []
    assert lab_page.outside == []
