"""Times the views in headless Chromium against a JupyterLab server of its own, as a user meets them.

    python benchmarks/viewer.py [--size 1024] [--model lite] [--threads 2] [--save NAME]

Medians and 95th percentiles. `--save NAME` writes the table to benchmarks/results/viewer-NAME.md. Needs Chromium and
playwright. Memory is read on Linux only.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from labserver import ARGUMENTS, Lab, ask, chromium_path, start_lab, stop_lab  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

DRAWN = 'canvas[data-panel="focus"][data-state="drawn"]'

SETUP = """
import ctypes, json, time, os, gc, statistics, torch, numpy as np, widgets
from skimage import data
from birefnet_lite import BiRefNet, BiRefNetConfig, load
torch.manual_seed(0); torch.set_num_threads({threads})
def network(name):
    try: return load(name).eval()
    except Exception: return BiRefNet(BiRefNetConfig.preset(name)).eval()
def memory():
    gc.collect()
    try: ctypes.CDLL('libc.so.6').malloc_trim(0)  # what the allocator keeps for later is not in use
    except (OSError, AttributeError): pass
    try: return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
    except OSError: return float('nan')
model = network({model!r})
from PIL import Image
photo = np.asarray(Image.fromarray(data.astronaut()).resize(({size}, {size})))
x = torch.zeros(1, 3, {size}, {size})
with torch.no_grad():
    model(x)
own, started = 0.0, 0.0
def before(*_):
    global started
    started = time.perf_counter()
def after(*_):
    global own
    own += time.perf_counter() - started
model.register_forward_pre_hook(before), model.register_forward_hook(after)
"""

SHOW = "own, began = 0.0, time.time(); view = widgets.feature_pyramid(model, photo)\nview"

# Each of these runs in the page and gives milliseconds.
SCRUB = """async ({ frames, positions }) => {
    const slider = document.querySelector('.bv-channel-slider');
    const canvas = document.querySelector('canvas[data-panel="focus"]');
    const tick = () => new Promise((done) => requestAnimationFrame(done));
    const draws = () => Number(canvas.dataset.draws);
    for (let i = 0; i < 5; i++) await tick();
    const times = [], before = draws();
    let last = await tick();
    for (let i = 0; i < frames; i++) {
        slider.value = positions[i % positions.length];
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        const now = await tick();
        times.push(now - last);
        last = now;
    }
    await tick();
    return { times, draws: draws() - before };
}"""
HOVER = """async (count) => {
    const stage = document.querySelector('.bv-stage');
    const probe = document.querySelector('output[data-probe]');
    const box = stage.getBoundingClientRect();
    const times = [];
    for (let i = 0; i < count; i++) {
        const clientX = box.left + box.width * (0.1 + 0.8 * ((i * 37) % 100) / 100);
        const clientY = box.top + box.height * (0.1 + 0.8 * ((i * 61) % 100) / 100);
        await new Promise((done) => requestAnimationFrame(done));
        const start = performance.now();
        const changed = new Promise((done) => {
            const observer = new MutationObserver(() => { observer.disconnect(); done(performance.now()); });
            observer.observe(probe, { childList: true, subtree: true, characterData: true });
        });
        stage.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, bubbles: true }));
        times.push((await changed) - start);
    }
    return times;
}"""
FETCH = """async (positions) => {
    const slider = document.querySelector('.bv-channel-slider');
    const canvas = document.querySelector('canvas[data-panel="focus"]');
    const times = [];
    for (const position of positions) {
        const start = performance.now(), before = canvas.dataset.draws;
        slider.value = position;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
        while (canvas.dataset.draws === before || canvas.dataset.state !== 'drawn') {
            await new Promise((done) => setTimeout(done, 1));
        }
        times.push(performance.now() - start);
        await new Promise((done) => setTimeout(done, 150));
    }
    return times;
}"""


def spread(times: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    ordered = sorted(times)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def told(page: Page, code: str) -> float:
    """A number that the kernel prints."""
    answer = ask(page, code)
    try:
        return float(answer)
    except ValueError:
        raise RuntimeError(f"The kernel says: {answer}") from None


class Rows(list):
    """What, measured, limit: printed as they come, since the whole takes minutes."""

    def append(self, row: tuple[str, str, str]) -> None:
        print(f"| {' | '.join(row)} |", flush=True)
        super().append(row)


def measure(page: Page, lab: Lab, options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Rows of what, measured, limit."""
    setup = SETUP.format(threads=options.threads, model=options.model, size=options.size)
    lab.write("viewer.ipynb", setup, SHOW)
    lab.open(page, "viewer.ipynb")
    lab.run_all(page)
    page.wait_for_selector(DRAWN, timeout=600_000)
    rows = Rows()
    size = f"{options.size} x {options.size}"

    firsts = []
    for _ in range(options.rounds):
        ask(page, "view.close()")
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
        page.wait_for_selector(DRAWN)
        shown = page.evaluate("() => Date.now() / 1000")
        firsts.append(shown - told(page, "print(began)") - told(page, "print(own)"))
    middle, late = spread(firsts)
    first = f"first picture after the call, {size}, less the model's own time"
    rows.append((first, f"{middle:.2f} s, p95 {late:.2f} s", "1.5 s"))

    sent = told(page, SENT)
    rows.append((f"sent for the first picture, {size}", f"{sent / 2**20:.1f} MiB", "8 MiB"))
    kept = told(page, "print(view.source.nbytes + len(view.blob))")
    rows.append((f"kept in the kernel, {size}", f"{kept / 2**20:.1f} MiB", "64 MiB"))

    page.locator('button.bv-panel:has(canvas[data-layer="encoder.full.x1"])').click()
    page.wait_for_function("() => document.querySelectorAll('[role=option] canvas[data-state=drawn]').length >= 5")
    rows.append((f"a frame of scrubbing channels over the photo, {size}", scrubbed(page, [0, 1, 2, 3, 4]), "p95 20 ms"))
    ask(page, "view.layer = 'decoder.image_branch'")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="decoder.image_branch"][data-state="drawn"]')
    page.wait_for_function("() => document.querySelectorAll('[role=option] canvas[data-state=drawn]').length >= 3")
    rows.append((f"the same, where the maps themselves are {size}", scrubbed(page, [0, 1, 2]), "p95 20 ms"))
    middle, late = spread(page.evaluate(HOVER, 100))
    rows.append(("from the pointer to the value", f"{middle:.1f} ms, p95 {late:.1f} ms", "one frame, 16.7 ms"))

    # Of this layer the kernel keeps more channels than the page fetches on its own.
    ask(page, "view.layer = 'encoder.full.x3'")
    page.wait_for_selector('canvas[data-panel="focus"][data-layer="encoder.full.x3"][data-state="drawn"]')
    page.wait_for_timeout(1500)
    count = int(told(page, "print(len(view.source.layers['encoder.full.x3'].planes))"))
    middle, late = spread(page.evaluate(FETCH, list(range(50, min(count, 75)))))
    rows.append(("a map that the kernel keeps and the page lacks", f"{middle:.0f} ms, p95 {late:.0f} ms", "120 ms"))

    grown = told(page, TWENTY)
    rows.append(("growth of the kernel over twenty showings, 512 x 512", f"{grown:.2f} views", "1 view"))
    took = told(page, ABLATION.format(threads=options.threads))
    name = ask(page, "print(small_name)").strip()
    rows.append((f"a part switched off, {name} at 256 x 256, to the new mask", f"{took:.2f} s", "0.5 s"))

    for method, first, note, whole in json.loads(ask(page, ATTRIBUTION)):
        what = f"a pin in attribution, {name} at 256 x 256, {method}"
        rows.append((f"{what}: to its first map", f"{first:.2f} s ({note})", "1.5 s"))
        rows.append((f"{what}: to the last", f"{whole:.1f} s", "in the background"))
    rows.append(("a compare page of two networks", f"{told(page, COMPARE) / 2**20:.1f} MiB", "8 MiB"))
    lab.write("reactions.ipynb", setup, SHOW_ATTRIBUTION.format(size=256))
    lab.open(page, "reactions.ipynb")
    lab.run_all(page)
    page.wait_for_selector(DRAWN, timeout=600_000)
    middle, late = spread([page.evaluate(FEEDBACK, i) for i in range(options.rounds)])
    rows.append(("from a click to its first sign on the page", f"{middle:.0f} ms, p95 {late:.0f} ms", "100 ms"))
    middle, late = spread(page.evaluate(SAVE, 5))
    rows.append(("Save PNG, to the file", f"{middle:.0f} ms, p95 {late:.0f} ms", "500 ms"))
    return rows


def scrubbed(page: Page, positions: list[int]) -> str:
    """Time from frame to frame while the channel changes in every one."""
    frames = page.evaluate(SCRUB, {"frames": 180, "positions": positions})
    middle, late = spread(frames["times"])
    return f"{middle:.1f} ms, p95 {late:.1f} ms ({frames['draws']} of 180 drawn)"


SENT = """
parts, blob = view.source.pack(always={layer: [channel] for layer, channel in view.channels.items()})
print(len(blob) + len(json.dumps(parts)) + len(json.dumps(view.scene)))
"""
TWENTY = """
view.close()
views = [widgets.feature_pyramid(model, photo, size=512)]
one, before = views[0].source.nbytes + len(views[0].blob), memory()
for _ in range(19): views.append(widgets.feature_pyramid(model, photo, size=512))
print((memory() - before) / (one / 2**20))
for old in views: old.close()
"""
ABLATION = """
try: little, small_name = load('nano').eval(), 'nano'
except Exception: little, small_name = model, type(model).__name__ + ' (no nano yet)'
small_view = widgets.ablation(little, photo, size=256)
times = []
for parts in (['squeeze'], [], ['decoder.stage3.lateral'], [], ['encoder.half.x4']):
    start = time.perf_counter(); small_view.ablated = parts; times.append(time.perf_counter() - start)
print(statistics.median(times))
"""
# Setting a pin returns after the first map; the later ones are computed while this cell awaits.
ATTRIBUTION = """
little_view = widgets.attribution(little, photo, size=256)
import asyncio
found = []
for method in [row["layer"] for row in little_view.table["rows"]]:
    with little_view.without_reaction(): little_view.layer = method
    little_view.pin = [100.0, 100.0]  # what is slow only once
    little_view.stop()
    start = time.perf_counter(); little_view.pin = [130.0, 110.0]
    first = time.perf_counter() - start
    note = little_view.source.layers[method].note
    while little_view.progress: await asyncio.sleep(0.01)
    found.append((method, first, note, time.perf_counter() - start))
print(json.dumps(found))
"""
COMPARE = """
import copy, tempfile
changed = copy.deepcopy(little); next(changed.parameters()).data.mul_(1.1)
path = tempfile.mktemp(suffix=".html")
widgets.compare(changed, little, photo, size=256).to_html(path)
print(os.path.getsize(path)); os.remove(path)
"""
SHOW_ATTRIBUTION = """
view = widgets.attribution(network("nano"), photo, size={size})
view
"""
FEEDBACK = """async (number) => {
    const view = document.querySelector('.bv');
    const stage = document.querySelector('.bv-stage');
    while (view.dataset.waiting === 'true' || document.querySelector('.bv-busy:not([hidden])'))
        await new Promise((done) => setTimeout(done, 20));
    const box = stage.getBoundingClientRect();
    const place = { clientX: box.left + box.width * (0.3 + 0.08 * number), clientY: box.top + box.height * 0.5 };
    const signs = new Promise((done) => {
        new MutationObserver((_, observer) => { observer.disconnect(); done(performance.now()); })
            .observe(view, { attributes: true, attributeFilter: ['data-waiting'] });
    });
    const start = performance.now();
    const options = { ...place, bubbles: true, pointerId: 1, isPrimary: true };
    stage.setPointerCapture = () => {};
    for (const type of ['pointerdown', 'pointerup']) stage.dispatchEvent(new PointerEvent(type, options));
    return (await signs) - start;
}"""
SAVE = """async (count) => {
    const button = [...document.querySelectorAll('.bv-button')].find((one) => one.textContent === 'Save PNG');
    const make = URL.createObjectURL;
    const times = [];
    for (let i = 0; i < count; i++) {
        const made = new Promise((done) => {
            URL.createObjectURL = (blob) => { done(performance.now()); return make.call(URL, blob); };
        });
        const start = performance.now();
        button.click();
        times.push((await made) - start);
    }
    URL.createObjectURL = make;
    return times;
}"""


def main() -> None:
    """Measure, print, and save if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="how often the first picture is timed")
    parser.add_argument("--save", metavar="NAME")
    options = parser.parse_args()
    process, lab = start_lab(Path(tempfile.mkdtemp()))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium_path(), headless=True, args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1500, "height": 1300})
            page.set_default_timeout(180_000)
            rows = measure(page, lab, options)
            browser.close()
    finally:
        stop_lab(process, lab)
    lines = ["| what | measured | limit |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    command = f"`python benchmarks/viewer.py --size {options.size} --model {options.model} --threads {options.threads}`"
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    text = "\n".join(["# Views in JupyterLab", "", *lines, "", f"{command}, {machine}"])
    print(f"\n{text}")
    if options.save:
        target = ROOT / "benchmarks" / "results" / f"viewer-{options.save}.md"
        target.parent.mkdir(exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
