// The network as a picture: one node for each part with its live map, the ways between them, and a gate for what can be
// switched off.
import { colourMap, colourTable, limitsOf, paint } from "../../static/core.js";
import { h, svg } from "../../static/dom.js";

const TABLE = new Uint32Array(65536);
const STEP_MS = 230;

// Where a part stands: the row is its level, the column encoder, across or decoder.
function cellOf({ name, group, level }) {
  if (name === "photo") return [0, "encoder"];
  if (group === "encoder") return [level, "encoder"];
  if (group === "squeeze") return [4, "across"];
  if (group === "inward") return [level, "across"];
  if (group === "lateral") return [level - 1, "across"];
  return [level, "decoder"];
}

export class NetworkMap {
  // `parts`: as Python describes them; `onOpen(name)`: one was clicked; `onGates()`: one was switched.
  constructor(parts, { onOpen, onGates }) {
    Object.assign(this, { parts, onOpen });
    this.nodes = new Map();
    this.gates = new Map();
    const cells = new Map();
    for (const part of [
      { name: "photo", short: "photo", title: "The photo", group: "photo", level: 0, inputs: [] },
      ...parts,
    ]) {
      const node = this.makeNode(part, onGates);
      const [row, column] = cellOf(part);
      const key = `${row} ${column}`;
      if (!cells.has(key))
        cells.set(key, h("div", { class: "map-cell", style: { "grid-row": String(row + 1) }, dataset: { column } }));
      cells.get(key).append(node.root);
    }
    const heads = ["whole photo", "1/4", "1/8", "1/16", "1/32"].map((text, row) =>
      h("div", { class: "map-level", style: { "grid-row": String(row + 1) }, "aria-hidden": "true" }, text),
    );
    this.wires = svg("svg", { class: "map-wires", "aria-hidden": "true" });
    this.root = h("div", { class: "map", role: "group", "aria-label": "Map of the network" }, this.wires, heads, [
      ...cells.values(),
    ]);
    new ResizeObserver(() => this.drawWires()).observe(this.root);
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
      h("span", { class: "node-name" }, part.short),
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
    const node = { part, root, canvas, button };
    this.nodes.set(part.name, node);
    return node;
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
    for (const wire of this.wires.children) wire.classList.toggle("off", this.off.includes(wire.dataset.from));
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
    requestAnimationFrame(() => this.drawWires());
  }

  select(name) {
    this.selected = name;
    for (const [other, { root, button }] of this.nodes) {
      root.classList.toggle("selected", other === name);
      if (other !== "photo") button.setAttribute("aria-pressed", String(other === name));
    }
    const part = this.nodes.get(name)?.part;
    for (const wire of this.wires.children)
      wire.classList.toggle("lit", wire.dataset.to === name || wire.dataset.from === name);
    return part;
  }

  // Curves from each part to those that read it.
  drawWires() {
    const box = this.root.getBoundingClientRect();
    if (!box.width) return;
    this.wires.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const place = (name) => {
      const rect = this.nodes.get(name).canvas.getBoundingClientRect();
      return {
        x: rect.left - box.left + rect.width / 2,
        y: rect.top - box.top + rect.height / 2,
        w: rect.width / 2,
        h: rect.height / 2,
      };
    };
    const wires = [];
    for (const { name, inputs, group } of this.parts) {
      for (const input of inputs) {
        const [from, to] = [place(input), place(name)];
        const across = Math.abs(to.x - from.x) > Math.abs(to.y - from.y);
        const side = Math.sign(across ? to.x - from.x : to.y - from.y) || 1;
        const [x1, y1] = across ? [from.x + side * from.w, from.y] : [from.x, from.y + side * from.h];
        const [x2, y2] = across ? [to.x - side * to.w, to.y] : [to.x, to.y - side * to.h];
        const [cx, cy] = across ? [(x2 - x1) / 2, 0] : [0, (y2 - y1) / 2];
        const wire = svg("path", {
          d: `M${x1} ${y1} C${x1 + cx} ${y1 + cy} ${x2 - cx} ${y2 - cy} ${x2} ${y2}`,
          class: `wire wire-${input === "photo" ? "photo" : group}`,
        });
        Object.assign(wire.dataset, { from: input, to: name });
        wires.push(wire);
      }
    }
    this.wires.replaceChildren(...wires);
    this.select(this.selected);
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
      for (const wire of this.wires.children) wire.classList.toggle("now", wire.dataset.to === part.name);
      say(part);
      await new Promise((done) => setTimeout(done, STEP_MS));
      this.nodes.get(part.name).root.classList.remove("now");
    }
    this.playing = false;
    this.root.classList.remove("playing");
    for (const wire of this.wires.children) wire.classList.remove("now");
    say(null);
  }
}
