"""Checks for both maps of the network: signs and names lie over nothing else, and within the page."""

SIZES = ((1280, 800), (1024, 800), (390, 844))
OVER = """(map) => {
    const read = (selector) => [...document.querySelectorAll(`${map} ${selector}`)]
        .map((e) => ({ box: e.getBoundingClientRect(), what: e.textContent || e.className.baseVal || e.className }))
        .filter(({ box }) => box.width);
    const over = (a, b) =>
        Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 1 &&
        Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 1;
    const boxes = read(':is(.bv-node, .node-open, .node-gate input)');
    const drawn = [...read('.bv-map-lines .bv-sign-disc'), ...read('.bv-map-lines text')];
    return drawn.flatMap((one, i) =>
        [...boxes, ...drawn.slice(i + 1)].filter((other) => over(one, other)).map((other) => [one.what, other.what]));
}"""
CUT = """(map) => [...document.querySelectorAll(`${map} :is(.bv-node, .node, text, .bv-sign-disc)`)]
    .map((e) => [e.textContent || e.className.baseVal, e.getBoundingClientRect()])
    .filter(([, box]) => box.left < 0 || box.right > innerWidth)
    .map(([what, { left, right }]) => `${what} ${left} ${right}`)"""
SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


def assert_map_is_legible(page, selector, described, sizes=SIZES):
    """Signs and names of a map as Python described it are there, over nothing else, and within windows of the sizes."""
    signs = [one["name"] for node in described["nodes"] for one in node.get("operations", ())]
    names = [region["title"] for region in described["regions"]]
    names += [name for level in described["levels"] for name in (level["title"], level["size"])]
    for width, height in sizes:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(SETTLE)
        found = page.locator(f"{selector} .bv-map-lines g.bv-sign")
        assert found.evaluate_all("(all) => all.map((e) => e.dataset.sign)") == signs
        assert page.locator(f"{selector} .bv-map-lines text").all_text_contents() == names
        assert page.evaluate(OVER, selector) == []
        assert page.evaluate(CUT, selector) == []
