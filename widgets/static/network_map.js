// The network as a map to walk through: boxes with live thumbnails, arrows between them, colours for what they cost.
import { h, hyphenate, svg } from "./dom.js";
import { MapPanel, PHOTO } from "./map_panel.js";
import { follow } from "./pointer_and_keys.js";
import { toggle } from "./switches.js";

const STEP_MS = 900;
const COLOURINGS = { group: "kind of part", time: "time", parameters: "parameters", memory: "memory" };
const LOST = { group: "kind of part", lost: "what the mask loses" };
const CLICKS = { switch: "switches the part", show: "shows its maps" };

export class NetworkMap {
  constructor(store) {
    this.store = store;
    this.panels = [];
    this.nodes = new Map();
    this.root = h("section", { class: "bv-map", hidden: !store.scene.map, "aria-label": "Map of the network" });
    if (store.scene.map) this.build(store.scene.map);
  }

  build({ nodes, edges, passes }) {
    const { store } = this;
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
    this.lines = svg("svg", { class: "bv-map-lines", "aria-hidden": "true" });
    this.field = h("div", {
      class: "bv-map-field",
      role: "group",
      "aria-label": "Parts; left and right arrow keys walk in the order of computation",
      on: { keydown: (event) => this.key(event) },
    });
    for (const node of nodes) this.add(node);
    this.edges = edges.map((edge) => ({
      ...edge,
      path: svg("path", {
        class: `bv-edge${edge.inside ? " bv-inside" : ""}`,
        "data-from": edge.from,
        "data-to": edge.to,
      }),
    }));
    const arrow = svg("marker", {
      id: "bv-arrow",
      viewBox: "0 0 8 8",
      refX: "7",
      refY: "4",
      markerWidth: "6",
      markerHeight: "6",
      orient: "auto",
    });
    arrow.append(svg("path", { d: "M0 0L8 4L0 8Z" }));
    const definitions = svg("defs");
    definitions.append(arrow);
    this.lines.append(definitions, ...this.edges.map((edge) => edge.path));
    this.field.prepend(this.lines);
    this.order = nodes.map((node) => node.name).filter((name) => name !== PHOTO);
    this.note = h(
      "span",
      { class: "bv-muted" },
      passes
        ? `Times are medians of ${passes} passes, with the fastest and the slowest.`
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
      this.note,
    );
    new ResizeObserver(() => this.draw()).observe(this.field);
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
        style: { "grid-row": node.row + 1, "grid-column": node.column },
        on: {
          click: () => node.name !== PHOTO && store.guard(() => this.click(node)),
          pointerenter: () => this.light(node.name),
          pointerleave: () => this.light(null),
          focus: () => this.light(node.name),
          blur: () => this.light(null),
        },
      },
      h("span", { class: "bv-node-label" }, hyphenate(node.label)),
      panel.frame,
      h("span", { class: "bv-node-shape" }, node.shape ?? ""),
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

  // Arrows from the places where the page has put the boxes.
  draw() {
    const box = this.field.getBoundingClientRect();
    this.lines.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const place = (name) => {
      const { left, top, width, height } = this.nodes.get(name).button.getBoundingClientRect();
      return {
        left: left - box.left,
        top: top - box.top,
        right: left - box.left + width,
        bottom: top - box.top + height,
        x: left - box.left + width / 2,
        y: top - box.top + height / 2,
      };
    };
    for (const { from, to, path } of this.edges) {
      const [a, b] = [place(from), place(to)];
      const { row, column, group } = this.nodes.get(to).node;
      const source = this.nodes.get(from).node;
      let d;
      if (from === PHOTO && group === "inward") {
        const bus = box.width - 5;
        d = row === 0 ? `M${a.right} ${a.top + 6}H${b.left}` : `M${a.right} ${a.top + 6}H${bus}V${b.y}H${b.right}`;
      } else if (source.column === column) {
        const down = a.y < b.y;
        d = `M${a.x} ${down ? a.bottom : a.top}V${down ? b.top : b.bottom}`;
      } else if (source.column < column) {
        const middle = (a.right + b.left) / 2;
        d = `M${a.right} ${a.y}C${middle} ${a.y} ${middle} ${b.y} ${b.left} ${b.y}`;
      } else {
        const middle = (a.left + b.right) / 2;
        d = `M${a.left} ${a.y}C${middle} ${a.y} ${middle} ${b.y} ${b.right} ${b.y}`;
      }
      path.setAttribute("d", d);
    }
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
    const near = new Set([name]);
    for (const { from, to, path } of this.edges) {
      const on = from === name || to === name;
      path.classList.toggle("bv-lit", on);
      if (on) near.add(from).add(to);
    }
    for (const [other, { button }] of this.nodes) button.classList.toggle("bv-lit", near.has(other));
    this.tell(name ?? this.store.look.layer);
  }

  tell(name) {
    const node = this.nodes.get(name)?.node;
    if (!node) return;
    const by = this.select.value;
    const cost = node.said ? ` · ${by === "group" ? Object.values(node.said).join(" · ") : node.said[by]}` : "";
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
