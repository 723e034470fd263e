// The network as a picture: one node for each part with its live map, the ways between them, and a gate for what can be
// switched off.
import { colourMap, colourTable, limitsOf, paint } from "../../static/core.js";
import { h } from "../../static/dom.js";
import { MapLines } from "../../static/map_lines.js";
import { explainSigns } from "../../static/map_signs.js";

const TABLE = new Uint32Array(65536);
const STEP_MS = 230;

export class NetworkMap {
  // `parts` and `map`, where they stand: as Python describes them; `onOpen(name)`: one was clicked; `onGates()`: one was
  // switched.
  constructor(parts, map, { onOpen, onGates }) {
    Object.assign(this, { parts, onOpen });
    this.nodes = new Map();
    this.gates = new Map();
    const byName = new Map(parts.map((part) => [part.name, part]));
    for (const { name, label, title, group } of map.nodes)
      this.makeNode({ title, group, inputs: [], ...byName.get(name), name, label }, onGates);
    const boxes = new Map([...this.nodes].map(([name, { root }]) => [name, root]));
    this.root = h("div", { class: "map bv-map-field", role: "group", "aria-label": "Map of the network" });
    this.lines = new MapLines(map, this.root, boxes);
    this.root.append(this.lines.root, ...boxes.values());
    this.signs = explainSigns(map);
    new ResizeObserver(() => this.drawLines()).observe(this.root);
  }

  makeNode(part, onGates) {
    const photo = part.name === "photo";
    const canvas = h("canvas", { width: 1, height: 1, dataset: photo ? { photo: "" } : { layer: part.name } });
    const open = () => this.onOpen(part.name);
    const picture = h("span", { class: "node-picture" }, canvas);
    const button = h(
      photo ? "div" : "button",
      { class: "node-open", type: photo ? null : "button", title: part.title, on: photo ? {} : { click: open } },
      picture,
      h("span", { class: "node-name" }, part.label),
    );
    const root = h("div", { class: "node", dataset: { part: part.name, group: part.group } }, button);
    if (part.removable) {
      const gate = h("input", {
        type: "checkbox",
        checked: true,
        title: "On. Switch this part off and see what the mask loses.",
        "aria-label": `${part.title}: on`,
        dataset: { gate: part.name },
        on: { change: () => onGates() },
      });
      gate.checked = true;
      this.gates.set(part.name, gate);
      root.append(h("label", { class: "node-gate" }, gate));
    }
    this.nodes.set(part.name, { part, root, canvas, button });
  }

  get off() {
    return [...this.gates].filter(([, gate]) => !gate.checked).map(([name]) => name);
  }
  setGates(off) {
    for (const [name, gate] of this.gates) gate.checked = !off.includes(name);
    this.showGates();
  }
  showGates() {
    for (const [name, gate] of this.gates) this.nodes.get(name).root.classList.toggle("off", !gate.checked);
    const { off } = this;
    for (const { from, path } of this.lines.ways)
      path.classList.toggle(
        "off",
        from.every((name) => off.includes(name)),
      );
  }

  // Shows new maps: `planes` by name, `ratio` the photo's width over its height.
  draw(planes, photo) {
    this.root.style.setProperty("--ratio", photo.ratio);
    for (const [name, plane] of Object.entries(planes)) {
      if (!plane) continue;
      const { canvas, part } = this.nodes.get(name);
      const [width, height] = [plane.width, plane.height];
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const context = canvas.getContext("2d");
      const image = context.createImageData(width, height);
      const colours = colourMap(part.kind === "signed" ? "RdBu" : "viridis");
      colourTable(plane, limitsOf(part.kind, plane.lo, plane.hi), colours, TABLE);
      paint(plane, TABLE, new Uint32Array(image.data.buffer));
      context.putImageData(image, 0, 0);
      canvas.dataset.state = "drawn";
    }
    const { canvas } = this.nodes.get("photo");
    if (photo.bitmap) {
      Object.assign(canvas, { width: photo.bitmap.width, height: photo.bitmap.height });
      canvas.getContext("2d").drawImage(photo.bitmap, 0, 0);
    }
    requestAnimationFrame(() => this.drawLines());
  }

  select(name) {
    this.selected = name;
    for (const [other, { root, button }] of this.nodes) {
      root.classList.toggle("selected", other === name);
      if (other !== "photo") button.setAttribute("aria-pressed", String(other === name));
    }
    const part = this.nodes.get(name)?.part;
    this.lines.light(name);
    return part;
  }

  // What is between the parts, and on it what is selected and what is off.
  drawLines() {
    this.lines.draw();
    this.lines.light(this.selected);
    this.showGates();
  }

  // Lets the image flow through, part by part; `say(part)` hears each one. A second call stops it.
  async play(say) {
    if (this.playing) {
      this.playing = false;
      return;
    }
    this.playing = true;
    this.root.classList.add("playing");
    for (const { root } of this.nodes.values()) root.classList.remove("reached");
    this.nodes.get("photo").root.classList.add("reached");
    for (const part of this.parts) {
      if (!this.playing) break;
      this.nodes.get(part.name).root.classList.add("reached", "now");
      for (const { to, path } of this.lines.ways) path.classList.toggle("now", to === part.name);
      say(part);
      await new Promise((done) => setTimeout(done, STEP_MS));
      this.nodes.get(part.name).root.classList.remove("now");
    }
    this.playing = false;
    this.root.classList.remove("playing");
    for (const { path } of this.lines.ways) path.classList.remove("now");
    say(null);
  }
}
