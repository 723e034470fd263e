"""Every view as an exported page: accessibility, sizes, names, print, and pictures within the window."""

import itertools
import json
import re
from pathlib import Path

import pytest
from every_view import NAMES, every_view
from small_network import small
from watched import WAIT, Watched

import widgets
from birefnet_lite.network.deformable import DeformableConv2d
from widgets.front_end import read_static
from widgets.league import tabulate_league

AXE = (Path(__file__).parent.parent / "js" / "axe" / "axe.min.js").read_text(encoding="utf-8")
RUN_AXE = """(rules) => axe
    .run(document, { resultTypes: ['violations'], ...(rules ? { runOnly: rules } : {}) })
    .then(({ violations }) => violations.map(({ id, nodes }) =>
        [id, nodes.length, nodes[0].html.slice(0, 200), nodes[0].failureSummary]))"""
SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    found = {}
    for name, viewer in every_view():
        found[name] = folder / f"{name}.html"
        viewer.to_html(found[name], budget=100_000)
    return found


@pytest.fixture(scope="module")
def reader(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    yield Watched(page)
    context.close()


@pytest.fixture(scope="module", params=NAMES)
def opened_once(request, paths, reader):
    reader.page.goto(paths[request.param].as_uri())
    reader.page.wait_for_selector('canvas[data-panel="focus"][data-state="drawn"]')
    return reader


@pytest.fixture
def page(opened_once):
    opened_once.page.set_viewport_size({"width": 1280, "height": 800})
    opened_once.page.emulate_media(color_scheme="light", media="screen")
    yield opened_once.page
    assert opened_once.errors == []
    assert opened_once.outside == []


def resize(page, width, height=800):
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(SETTLE)


def test_axe_finds_nothing(page):
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE, None) == []


TOO_SMALL = """() => [...document.querySelectorAll('.bv *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12)
    .map((e) => e.outerHTML.slice(0, 120))"""
CUT = """() => [document.documentElement, ...document.querySelectorAll('.bv-table, .bv-grid, .bv-caption, .bv-head')]
    .filter((e) => e.scrollWidth - e.clientWidth > 1)
    .map((e) => `${e.className} ${e.scrollWidth} ${e.clientWidth}`)"""
BROKEN = """() => [...document.querySelectorAll('.bv-table thead th, .bv-table tbody td, .bv-column, .bv-word')]
    .filter((e) => {
        const range = document.createRange();
        return [...e.childNodes].filter((n) => n.nodeType === 3).some((n) =>
            [...n.textContent.matchAll(/[^\\s-]+/g)].some(({ 0: word, index }) => {
                range.setStart(n, index);
                range.setEnd(n, index + word.length);
                const lines = [...range.getClientRects()].filter((r) => r.width > 1).map((r) => Math.round(r.top));
                return new Set(lines).size > word.split('\\u00ad').length;
            }));
    })
    .map((e) => e.textContent)"""
IN_SIGHT = """() => {
    const box = document.querySelector('.bv-stage').getBoundingClientRect();
    return (Math.min(box.bottom, innerHeight) - Math.max(box.top, 0)) / box.height;
}"""


def test_nothing_is_cut_or_too_small_at_any_width(page):
    for width, height in ((390, 844), (1024, 800), (1280, 800)):
        resize(page, width, height)
        assert page.evaluate(TOO_SMALL) == []
        assert page.evaluate(CUT) == []
        assert page.evaluate(BROKEN) == []
        # Wherever one scrolls to, the large picture is there.
        page.evaluate("() => scrollTo(0, (document.documentElement.scrollHeight - innerHeight) * 0.9)")
        assert page.evaluate(IN_SIGHT) >= 0.8
        page.evaluate("() => scrollTo(0, 0)")


def test_names_are_words_and_what_is_seen(page):
    text = page.locator(".bv").inner_text()
    if "Layer debugger" not in text:  # which shows modules by the names that one's own code gives them
        for code in ("decoder.", "encoder.", "stage1", "inward_reference", "gradient_attention"):
            assert code not in text
    labelled = page.eval_on_selector_all(
        ".bv label :is(select, input)",
        "(all) => all.filter((e) => e.getAttribute('aria-label')).map((e) => e.outerHTML)",
    )
    assert labelled == []


STOPS = (
    """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.tabIndex === 0 && !e.disabled).length"""
)


def test_each_group_is_one_stop_of_the_tab_key(page):
    for group in (".bv-grid button", ".bv-table tr", ".bv-node", ".bv-check input", ".bv-atlas-list, .bv-thumb"):
        assert page.evaluate(STOPS, group) <= 1, group


def test_on_paper_all_rows_are_there(page):
    page.emulate_media(media="print")
    page.evaluate("() => { for (const e of document.querySelectorAll('.bv-as-table')) e.open = true; }")
    hidden = page.eval_on_selector_all(
        ".bv-table, .bv-atlas-list, .bv-choices fieldset, .bv-map-scroll",
        "(all) => all.filter((e) => e.scrollHeight - e.clientHeight > 1).map((e) => e.className)",
    )
    assert hidden == []


NOTE_TEXTS = """() => {
    window.texts = [];
    const write = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        const { width } = this.measureText(text);
        const left = x - width * { left: 0, center: 0.5, right: 1 }[this.textAlign];
        if (text.trim()) texts.push({ text, left, right: left + width, y });
        write.call(this, text, x, y);
    };
}"""


def test_a_saved_picture_has_its_captions_and_no_text_over_another(page):
    page.evaluate(NOTE_TEXTS)
    with page.expect_download():
        page.get_by_role("button", name="Save PNG").click()
    texts = page.evaluate("() => window.texts")
    written = " ".join(text["text"] for text in texts)
    for caption in page.locator(".bv-title, .bv-table caption:visible").all_inner_texts():
        assert caption[:40] in written
    over = [
        (one["text"], other["text"])
        for one, other in itertools.combinations(texts, 2)
        if abs(one["y"] - other["y"]) < 9 and min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
    ]
    assert over == []


@pytest.mark.parametrize("opened_once", ["architecture", "ablation"], indirect=True)
def test_axe_finds_enough_contrast_in_the_dark_and_on_a_projector(page):
    page.evaluate(AXE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector('.bv[data-theme="dark"]')
    page.get_by_role("button", name="Projector").click()
    page.wait_for_selector('.bv[data-projector="true"]')
    page.evaluate(SETTLE)
    assert page.evaluate(RUN_AXE, ["color-contrast"]) == []
    page.get_by_role("button", name="Projector").click()
    page.evaluate(SETTLE)
    assert page.evaluate(RUN_AXE, ["color-contrast"]) == []


# What needs no explanation; hyphens are left out.
EVERYDAY = """
a above adds after against alike all and another are as at automatic became before below beside black blue both by
cell cells change changed checker choose click colour colours column columns computed distance down each edges encoder
error every explain explained filtered final finer first first's from full given green half halfsize head height how
image image's images in input instead is it its itself joined kind large largest layer layers left limits look loses
lost lowest made map maps mask mask's masks matrix maximum mean memory method million missed more moved much my
network network's next no not november number of off on one output over own part parts per photo photo's pins pixel
pixels place plus point position predicted read red region represent resized resolution right rise row same scored
second share shares shown side sides size sizes small soft square status step sum than that the their these this time
times to too true two up value values was weight weights what where which white whole width with within without x y
"""
WORDS = re.findall(r'\[\s*"([^"]+)",\s*"', read_static("words.js"))
LABELS = (
    ".bv-field > span, .bv-field select:not([name=colormap], [name=convolution]) option, .bv legend, .bv-all button, "
    ".bv-layer-name, .bv-node-label"
)


def headings_of(scene, table):
    """The headings over the columns, rows and maps of a view."""
    own = ("compare", "convolution")  # whose maps have the names that they have in the code
    layers = [] if scene["view"] in own else scene["layers"]
    titles = [layer["title"] for layer in layers]
    titles += [text for layer in layers if layer.get("base") for text in layer["labels"]]
    rows = [row["title"] for row in scene["rows"]]
    return [*scene["columns"], *rows, *table.get("columns", []), *titles]


def unexplained(headings):
    """The words in the headings that neither the view's list of words explains nor everybody knows."""
    terms = sorted(
        (term for line in WORDS for term in line.lower().replace("-", "").split(", ")), key=len, reverse=True
    )
    known = re.compile(r"\b(" + "|".join(map(re.escape, terms)) + r")(?:s|'s)?(?!\w)")
    found = set()
    for heading in headings:
        text = heading.lower().replace("\u00ad", "").replace("-\n", "").replace("-", "").replace("\n", " ")
        found |= {*re.findall(r"[^\W\d_]+(?:'s)?", known.sub(" ", text))} - {*EVERYDAY.split()}
    return ", ".join(sorted(found))


def test_every_heading_is_explained(page):
    assert {*page.locator(".bv-keys").first.locator("dt").all_text_contents()} == {*WORDS}
    state = json.loads(page.locator("#state").text_content())
    labels = page.locator(LABELS).all_text_contents()
    # The brush and the cut-out are found from the first sentences of the functions.
    says = getattr(widgets, state["scene"]["view"], widgets).__doc__.split("\n\n")[0]
    assert ("brush" in state["scene"]) == ("change the photo" in says)
    assert unexplained([*headings_of(state["scene"], state["table"]), *labels]) == ""


def test_every_heading_of_a_convolution_a_pair_and_a_league_is_explained(model, photo):
    modules = dict(model.named_modules())
    deformable = next(name for name, module in modules.items() if isinstance(module, DeformableConv2d))
    views = [
        widgets.computation(model, photo, convolution="decoder.stage2.lateral.conv"),
        widgets.computation(model, photo, convolution=deformable),
        widgets.paired(model, photo, model2=small(), view=widgets.prediction_ladder),
    ]
    headings = [text for view in views for text in headings_of(view.scene, view.table)]
    assert unexplained([*headings, *tabulate_league({})["columns"]]) == ""
