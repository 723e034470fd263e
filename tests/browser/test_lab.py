"""Views in JupyterLab: what the page shows, what the kernel knows, and errors of either."""

from collections import Counter

from labserver import OUTPUTS, ask, wait_until

TINY = """
import numpy as np, torch, widgets
from birefnet_lite.network.birefnet import BiRefNet
from birefnet_lite.config import BiRefNetConfig
torch.manual_seed(0); torch.set_num_threads(1)
narrow = dict(inter_channels=8, aspp_channels=8, image_channels=8, gradient_channels=4, train_size=(64, 96))
model = BiRefNet(BiRefNetConfig(backbone="convnet_n", **narrow)).eval()
photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
"""
DRAWN = 'canvas[data-panel="focus"][data-state="drawn"]'


SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(max=31)
ipywidgets.jslink((slider, "value"), (view, "channel"))
slider
"""

# Bars from the first moment on, as where the model is slow.
SLOW = "import widgets.progress; widgets.progress.DELAY = 0\n"


def test_two_views_and_a_slider_in_a_notebook(lab, lab_page):
    show = SLOW + "view = widgets.feature_pyramid(model, photo)\nview"
    lab.write("view.ipynb", TINY, show, SLIDER, "parts = widgets.ablation(model, photo, try_all=True)\nparts")
    page = lab_page.page
    lab.open(page, "view.ipynb")
    lab.run_all(page)
    page.wait_for_selector(DRAWN)
    view = page.locator("[data-viewer='feature_pyramid']")
    grid = view.locator('canvas[data-panel="grid"]')
    assert view.locator('canvas[data-panel="grid"][data-state="drawn"]').count() == grid.count() > 20

    # Choices in the page reach the kernel, and the other way round.
    view.locator('button.bv-panel:has(canvas[data-layer="squeeze"])').click()
    view.locator("input[name=channel]").fill("3")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="squeeze"][data-channel="3"]')
    wait_until(lambda: ask(page, "print(view.layer, view.channel)") == "squeeze 3", page)
    ask(page, "slider.value = 7")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="squeeze"][data-channel="7"]')
    ask(page, "view.layer = 'logits'")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="logits"][data-state="drawn"]')

    # Pictures of all channels are computed after the view is shown.
    ask(page, "view.layer = 'squeeze'")
    view.get_by_role("button", name="Colours", exact=True).click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="squeeze · colours"][data-state="drawn"]')
    view.locator('[role=option][aria-label*="explain"], [role=option][title*="explain"]').first.wait_for()
    ask(page, "view.layer = 'logits'")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="logits"][data-state="drawn"]')

    # The probe says what the network's own numbers say.
    page.mouse.move(2, 2)  # over a picture, the pointer would be the cursor
    ask(page, "view.pin = [50.0, 20.0]")
    page.wait_for_selector("[data-viewer='feature_pyramid'][data-pinned='true']")
    shown = float(view.locator("output[data-probe] strong").inner_text().replace("\N{MINUS SIGN}", "-"))
    ask(page, "from birefnet_lite.analysis import capture")
    known = float(ask(page, "print(float(capture(model, photo)['logits'][0, 20, 50]))"))
    assert abs(shown - known) < 1e-3

    # The page has the maps: the kernel gave its copy up.
    assert ask(page, "print(len(view.blob))") == "0"

    # A part is switched off in the other view, and the new mask comes.
    other = page.locator("[data-viewer='ablation']")
    change = '[data-viewer="ablation"] canvas[data-panel="grid"][data-layer="change"]'
    page.wait_for_selector(f'{change}[data-state="drawn"]')
    draws = page.locator(change).get_attribute("data-draws")
    other.get_by_label("Squeeze module", exact=True).check()
    page.wait_for_selector(f'{change}:not([data-draws="{draws}"])')
    assert ask(page, "print(parts.ablated, parts.error)") == "['squeeze']"
    # Opened anew while the kernel runs, the page asks for its maps again.
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    lab.open(page, "view.ipynb")
    page.wait_for_selector(f'{change}[data-state="drawn"]')
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="logits"][data-state="drawn"]')
    # The bars of both views have left nothing, neither a widget nor a line of text.
    kinds = Counter(kind.partition("(")[0] for _, outputs in page.evaluate(OUTPUTS) for kind in outputs)
    assert kinds == {"text/plain": 3, "widget Viewer": 2, "widget IntSlider": 1}
    assert page.get_by_text("Error displaying widget").count() == 0
    assert lab_page.outside == []
    assert lab_page.errors == []
    assert page.locator('[role="alert"]:visible').count() == 0


def test_errors_are_painted_and_a_restarted_kernel_leaves_the_view(lab, lab_page):
    # Room for one channel of each layer: any other one needs the model again.
    scarce = "import widgets.view_setup; widgets.view_setup.KEPT = 1\n"
    lab.write("broken.ipynb", TINY, scarce + "view = widgets.feature_pyramid(model, photo)\nview")
    page = lab_page.page
    lab.open(page, "broken.ipynb")
    lab.run_all(page)
    page.wait_for_selector(DRAWN)
    # A model that raises when the view needs it again.
    ask(page, "view.source.recompute = lambda name: 1 / 0")
    ask(page, "view.layer = 'squeeze'; view.channel = (view.channel + 1) % 100")
    page.wait_for_selector('[role="alert"]:has-text("ZeroDivisionError")')
    draws = page.locator('canvas[data-panel="grid"][data-layer="logits"]').get_attribute("data-draws")
    assert int(draws) > 0
    # Without its kernel the view still answers to the mouse.
    page.evaluate("async () => { await window.jupyterapp.shell.currentWidget.context.sessionContext.restartKernel(); }")
    page.locator('button.bv-panel:has(canvas[data-layer="logits"])').click()
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="logits"][data-state="drawn"]')
    page.locator(".bv-stage").hover()
    page.wait_for_selector("output[data-probe] strong")
