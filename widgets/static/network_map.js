// The network as a map to walk through: boxes with live thumbnails, arrows between them, colours for what they cost.
import { h } from "./dom.js";
import { MapLines } from "./map_lines.js";
import { MapPanel, PHOTO } from "./map_panel.js";
import { explainSigns } from "./map_signs.js";
import { follow } from "./pointer_and_keys.js";
import { toggle } from "./switches.js";

const STEP_MS = 900;
const COLOURINGS = { group: "kind of part", time: "time", parameters: "parameters", memory: "memory" };
const LOST = { group: "kind of part", lost: "what the mask loses" };
const CLICKS = { switch: "switches the part", show: "shows its maps" };

// A shape that breaks after its channels where a box is narrow.
function shapeOf({ shape }) {
  const [channels, height, width] = shape?.split(" × ") ?? [];
  return width ? [h("span", {}, `${channels} ×`), " ", h("span", {}, `${height}×\u200b${width}`)] : [];
}

const between = (rest) =>
  rest === undefined ? "" : ` ${(100 * rest).toFixed(1)} % of the time lie between the parts.`;

export class NetworkMap {
  constructor(store) {
    this.store = store;
    this.panels = [];
    this.nodes = new Map();
    this.root = h("section", { class: "bv-map", hidden: !store.scene.map, "aria-label": "Map of the network" });
    if (store.scene.map) this.build(store.scene.map);
  }

  build(map) {
    const { store } = this;
    const { nodes, passes, rest } = map;
    this.select = h(
      "select",
      { name: "colour-by", on: { change: () => this.colour() } },
      Object.entries(store.scene.switches ? LOST : COLOURINGS).map(([value, text]) => h("option", { value }, text)),
    );
    // A click opens a part; where parts can be switched, it does that first.
    this.clicks = h(
      "select",
      { name: "click" },
      Object.entries(CLICKS).map(([value, text]) => h("option", { value }, text)),
    );
    this.play = h(
      "button",
      { class: "bv-button", type: "button", "aria-pressed": "false", on: { click: () => this.toggle() } },
      "Play",
    );
    this.said = h("output", { class: "bv-map-said" });
    this.field = h("div", {
      class: "bv-map-field",
      role: "group",
      "aria-label": "Parts; left and right arrow keys walk in the order of computation",
      on: { keydown: (event) => this.key(event) },
    });
    for (const node of nodes) this.add(node);
    this.lines = new MapLines(map, this.field, new Map([...this.nodes].map(([name, { button }]) => [name, button])));
    this.field.prepend(this.lines.root);
    this.order = nodes.map((node) => node.name).filter((name) => name !== PHOTO);
    this.note = h(
      "span",
      { class: "bv-muted" },
      passes
        ? `Times are medians of ${passes} passes, with the fastest and the slowest.${between(rest)}`
        : "Crossed out is off. To switch single channels, let a click show a part's maps, and choose in its list.",
    );
    this.root.append(
      h(
        "div",
        { class: "bv-map-head" },
        h("label", { class: "bv-field bv-inline" }, h("span", {}, "Colour by"), this.select),
        store.scene.switches && store.live
          ? h("label", { class: "bv-field bv-inline" }, h("span", {}, "A click"), this.clicks)
          : null,
        this.play,
        this.said,
      ),
      (this.scroller = h("div", { class: "bv-map-scroll" }, this.field)),
      explainSigns(map),
      this.note,
    );
    new ResizeObserver(() => this.lines.draw()).observe(this.field);
    this.colour();
  }

  add(node) {
    const { store } = this;
    const panel = new MapPanel(store, "grid", node.name);
    follow(store, panel);
    panel.value = h("span", { class: "bv-value", dataset: { value: node.name } });
    panel.label = h("span", { class: "bv-panel-note" });
    const button = h(
      "button",
      {
        class: "bv-node",
        type: "button",
        dataset: { node: node.name, group: node.group },
        on: {
          click: () => node.name !== PHOTO && store.guard(() => this.click(node)),
          pointerenter: () => this.light(node.name),
          pointerleave: () => this.light(null),
          focus: () => this.light(node.name),
          blur: () => this.light(null),
        },
      },
      h("span", { class: "bv-node-label" }, node.label),
      panel.frame,
      h("span", { class: "bv-node-shape" }, shapeOf(node)),
    );
    button.title = node.title;
    if (node.name !== PHOTO) panel.button = button;
    this.panels.push(panel);
    this.nodes.set(node.name, { node, button });
    this.field.append(button);
  }

  click(node) {
    const { store } = this;
    const switches = store.scene.switches && store.live && this.clicks.value === "switch";
    if (!switches) store.act({ type: "layer", layer: node.name });
    else if (node.removable) toggle(store, node.name);
    else this.said.textContent = `${node.title} only joins others: it cannot be switched off.`;
  }

  colour() {
    const by = this.select.value;
    for (const { node, button } of this.nodes.values()) {
      const share = by === "lost" ? this.lost(node.name) : (node[by] ?? 0);
      button.style.setProperty("--heat", by === "group" ? "0%" : `${Math.round(Math.sqrt(share) * 90)}%`);
    }
    this.root.dataset.by = by;
    this.tell(this.store.look.layer);
  }

  // The mask's loss without a part, as a share of the largest loss.
  lost(name) {
    const scores = this.store.model.get("league")?.scores ?? {};
    const most = Math.max(...Object.values(scores).map(({ lost }) => lost));
    return most > 0 ? Math.max(0, scores[name]?.lost ?? 0) / most : 0;
  }

  // Inputs and outputs of a part.
  light(name) {
    this.root.dataset.lit = String(Boolean(name));
    const near = this.lines.light(name);
    for (const [other, { button }] of this.nodes) button.classList.toggle("bv-lit", near.has(other));
    this.tell(name ?? this.store.look.layer);
  }

  tell(name) {
    const node = this.nodes.get(name)?.node;
    if (!node) return;
    const by = this.select.value;
    const costed = node.costed ? `${node.costed}: ` : "";
    const cost = node.said ? ` · ${costed}${by === "group" ? Object.values(node.said).join(" · ") : node.said[by]}` : "";
    const lost = this.store.model.get("league")?.scores?.[name]?.lost;
    const league = lost === undefined ? "" : ` · the mask loses ${lost.toFixed(4)} IoU without it`;
    this.said.textContent = `${node.title}${node.shape ? ` · ${node.shape}` : ""}${cost}${league}`;
  }

  walk(step) {
    const { order, store } = this;
    const at = order.indexOf(store.look.layer) + step;
    if (at < 0 || at >= order.length) return false;
    store.act({ type: "layer", layer: order[at] });
    return true;
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.walk(step);
    this.nodes.get(this.store.look.layer)?.button.focus();
  }

  toggle() {
    if (this.timer) return this.stop();
    this.play.textContent = "Stop";
    this.play.setAttribute("aria-pressed", "true");
    if (this.store.look.layer === this.order.at(-1)) this.store.act({ type: "layer", layer: this.order[0] });
    this.timer = setInterval(() => this.walk(1) || this.stop(), STEP_MS);
    return undefined;
  }
  stop() {
    if (!this.play) return; // without a map, nothing was built
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
    this.play.setAttribute("aria-pressed", "false");
  }

  // One stop for the Tab key: the part in focus.
  update() {
    if (this.root.hidden) return;
    const { layer, ablated } = this.store.look;
    for (const [name, { button }] of this.nodes) {
      const off = ablated.includes(name) || ablated.some((entry) => entry.startsWith(`${name}#`));
      button.dataset.off = String(off);
    }
    if (this.select.value === "lost") this.colour();
    for (const [name, { button }] of this.nodes)
      button.tabIndex = name === layer || (!this.nodes.has(layer) && name === this.order[0]) ? 0 : -1;
    if (layer === this.told) return;
    this.tell((this.told = layer));
    // Sideways only: the page stays where it is.
    const { offsetLeft, offsetWidth } = this.nodes.get(layer)?.button ?? this.field;
    const { scrollLeft, clientWidth } = this.scroller;
    if (offsetLeft < scrollLeft || offsetLeft + offsetWidth > scrollLeft + clientWidth)
      this.scroller.scrollLeft = offsetLeft - (clientWidth - offsetWidth) / 2;
  }
}
