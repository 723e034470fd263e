// A stand-in for the widget's model whose answers come from a run of the network on this page, not from a kernel.
import { STATISTICS } from "../../static/core.js";
import { labelsOf } from "./summaries.js";

// `template`: a view's scene and look as Python describes them; `source`: open, planes and react of a run, as promises;
// `photo`: {width, height, facts, backdrop()}; `only`: the one layer to take of the scene. Returns null where the run has
// none of the view's maps.
export async function makeModel(template, source, photo, look, { only = null, onSwitch }) {
  const scene = structuredClone(template.scene);
  scene.image = { ...scene.image, width: photo.width, height: photo.height };
  scene.facts = photo.facts;
  if (only) scene.layers = scene.layers.filter(({ name }) => name === only).flatMap(withSummaries);
  const chosen = { ...template.look, ...look, channels: { ...template.look.channels, ...look?.channels } };
  const wanted = Object.fromEntries(scene.layers.map(({ name }) => [name, chosen.channels[name] ?? 0]));
  const [opened, backdrop] = await Promise.all([source.open(scene.view, wanted), photo.backdrop()]);
  const found = new Map(opened.filter((layer) => !layer.missing).map((layer) => [layer.name, layer]));
  scene.layers = scene.layers.filter(({ name }) => found.has(name));
  if (!scene.layers.length) return null;
  for (const row of scene.rows)
    row.cells = row.cells.map((name) => (name === "photo" || found.has(name) ? name : null));
  for (const layer of scene.layers) describe(layer, found.get(layer.name).statistics);
  settle(chosen, scene, photo, look);
  const packer = new Packer();
  packer.add({ kind: "photo", type: "image/jpeg" }, backdrop);
  if (scene.layers.some((layer) => layer.photo))
    packer.add({ kind: "photo", type: "image/jpeg", name: "second" }, await source.secondBackdrop());
  for (const layer of found.values()) packer.addLayer(layer);
  const values = {
    ...chosen,
    scene,
    ...packer.packed(),
    marks: [],
    table: source.table ?? {},
    controls: {},
    region: [],
    busy: "",
    error: "",
    live: true,
  };
  const looks = Object.keys(template.look).filter((name) => name !== "ablated");
  return new LiveModel(values, looks, source, onSwitch);
}

// A layer, and what sums up its channels.
function withSummaries(layer) {
  if (layer.channels < 4) return [layer];
  const { name, title, height, width } = layer;
  const common = { height, width, base: name, range: [0, 1] };
  return [
    layer,
    { ...common, name: `${name} · colours`, title: `${title} · all channels as colours`, note: NOTE, kind: "colour" },
    { ...common, name: `${name} · norm`, title: `${title} · norm over channels`, note: "", kind: "positive" },
  ];
}
const NOTE = "the channel chooses: PCA as colours, then 2 to 6 segments";

// A look comes from the view before, or from a file: what does not fit this scene is left out.
function settle(chosen, scene, { width, height }, look) {
  for (const { name, channels } of scene.layers)
    chosen.channels[name] = Math.min(chosen.channels[name] ?? 0, channels - 1);
  if (!scene.layers.some(({ name }) => name === chosen.layer)) chosen.layer = scene.layers.at(-1).name;
  chosen.channel = chosen.channels[chosen.layer];
  const inside = (pin) => pin?.length === 2 && pin[0] >= 0 && pin[0] < width && pin[1] >= 0 && pin[1] < height;
  if (scene.switches) {
    chosen.pin = [];
    scene.choices = []; // a gate is open or shut
  } else if (chosen.pin?.length || scene.reacts) chosen.pin = inside(look?.pin) ? look.pin : [width / 2, height / 2];
  if (chosen.colormap !== "auto" && !scene.colormaps.includes(chosen.colormap)) chosen.colormap = "auto";
  if (![...STATISTICS, "index"].includes(chosen.sort)) chosen.sort = "detail";
}

function describe(layer, statistics) {
  const rows = statistics.length / 7;
  layer.channels = rows;
  layer.range = [Math.min(...statistics.subarray(0, rows)), Math.max(...statistics.subarray(rows, 2 * rows))];
  if (layer.kind === "colour") layer.labels = labelsOf(layer.height * layer.width);
  else if (layer.base) layer.labels = ["norm over all channels"];
}

class LiveModel {
  // `looks`: the names of what is looked at.
  constructor(values, looks, source, onSwitch) {
    Object.assign(this, { values, looks, source, onSwitch, listeners: {}, changed: new Set() });
  }
  get(name) {
    return this.values[name];
  }
  set(name, value) {
    this.values[name] = value;
    this.changed.add(name);
    this.emit(`change:${name}`);
  }
  on(event, listener) {
    (this.listeners[event] ??= []).push(listener);
  }
  off() {}
  emit(event, ...details) {
    for (const listener of this.listeners[event] ?? []) listener(...details);
  }

  async send(message) {
    if (message.type !== "planes") return;
    try {
      const planes = await this.source.planes(this.values.scene.view, message.layer, message.channels);
      const packer = new Packer();
      const refused = [];
      for (const [channel, plane] of Object.entries(planes)) {
        if (plane) packer.addPlane(message.layer, Number(channel), plane);
        else refused.push([message.layer, Number(channel)]);
      }
      this.reply({ type: "parts", refused }, packer);
    } catch (error) {
      this.set("error", error.message);
    }
  }
  reply(message, packer) {
    const { parts, blob } = packer.packed();
    this.emit("msg:custom", { ...message, parts }, [blob]);
  }

  save_changes() {
    const changed = this.changed;
    this.changed = new Set();
    if (changed.has("ablated")) this.onSwitch?.(this.values.ablated);
    else if (changed.has("pin") || changed.has("layer")) this.react();
  }

  // Marks and table for what is pinned. However it ends, the view is told that nothing is computed any more.
  async react() {
    try {
      await this.answer();
    } finally {
      this.set("busy", "");
    }
  }
  async answer() {
    const { scene, layer, pin } = this.values;
    if (!scene.reacts || (!pin.length && !scene.switches)) return;
    const { marks, table, channels } = await this.source.react(scene.view, { layer, pin });
    const shown = (block) => scene.layers.filter(({ name }) => name.split(" · ")[0] === block).map(({ name }) => name);
    if (marks)
      this.set(
        "marks",
        marks.map((mark) => (mark.block ? { ...mark, layers: shown(mark.block) } : mark)),
      );
    if (table) this.set("table", table);
    if (channels) this.set("channels", { ...this.values.channels, ...channels });
    this.changed.clear();
  }

  // The same photo with other parts: new numbers under the same view.
  async refresh(source) {
    this.source = source;
    const { scene, channels } = this.values;
    const opened = await source.open(
      scene.view,
      Object.fromEntries(scene.layers.map(({ name }) => [name, channels[name] ?? 0])),
    );
    const found = opened.filter((layer) => !layer.missing);
    const packer = new Packer();
    for (const layer of found) {
      packer.addLayer(layer);
      describe(
        scene.layers.find(({ name }) => name === layer.name),
        layer.statistics,
      );
    }
    this.reply({ type: "parts", replaced: found.map(({ name }) => name), layers: scene.layers }, packer);
    await this.react();
  }

  get look() {
    return Object.fromEntries(this.looks.map((name) => [name, this.values[name]]));
  }
}

// Lays parts one after the other in a buffer, each on a multiple of four bytes, as widgets.scene.Packer does.
class Packer {
  constructor() {
    this.parts = [];
    this.pieces = [];
    this.length = 0;
  }
  add(part, array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    this.parts.push({ ...part, offset: this.length, length: bytes.length });
    this.pieces.push([this.length, bytes]);
    this.length += Math.ceil(bytes.length / 4) * 4;
  }
  addPlane(layer, channel, { codes, lo, hi, width, height }) {
    this.add({ kind: "plane", layer, channel, lo, hi, width, height }, codes);
  }
  addLayer({ name, statistics, planes }) {
    this.add({ kind: "statistics", layer: name }, statistics);
    for (const [channel, plane] of Object.entries(planes)) if (plane) this.addPlane(name, Number(channel), plane);
  }
  packed() {
    const buffer = new Uint8Array(this.length);
    for (const [offset, bytes] of this.pieces) buffer.set(bytes, offset);
    return { parts: this.parts, blob: new DataView(buffer.buffer) };
  }
}
